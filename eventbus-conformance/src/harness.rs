//! What the suite needs to know about a backend and its broker.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use eventbus_core::{BusConfig, Error, ErrorKind, EventBus, FailureHandler, Topic};

/// Connects buses of one backend to one broker, and does to that broker what it can.
///
/// Everything connected through one harness reaches the same broker, which should live as
/// long as the harness. Several scenarios may share a harness: each uses names of its own.
/// One that needs [`Feature::Restart`] or [`Feature::Pause`] should have a broker to itself.
///
/// Topics that come into being by publishing must have at least four partitions where the
/// backend has partitions.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The name of the backend in test names and in the matrix.
    fn name(&self) -> &str;

    /// What this harness can do beyond connecting. Scenarios that need more are not
    /// applicable.
    fn features(&self) -> &[Feature] {
        &[]
    }

    /// Connects a bus.
    ///
    /// # Errors
    /// When there is no broker: the suite then fails.
    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error>;

    /// Tries to connect where nothing answers, or with a URL that is wrong in a way that only
    /// the backend notices. Needs [`Feature::FailedConnect`].
    ///
    /// # Errors
    /// Always.
    async fn connect_in_vain(&self) -> Result<Arc<dyn EventBus>, Error> {
        Err(missing(Feature::FailedConnect))
    }

    /// From now on, and until the guard is gone, no acknowledgement reaches `bus`. Whether
    /// envelopes are stored and delivered meanwhile is left open, so freezing the broker will
    /// do. Needs [`Feature::HoldAcks`].
    ///
    /// # Errors
    /// When that fails.
    fn hold_acks(&self, bus: &dyn EventBus) -> Result<HeldAcks, Error> {
        let _ = bus;
        Err(missing(Feature::HoldAcks))
    }

    /// The fault injection of a bus; `None` where there is none. Needs [`Feature::FailSends`].
    fn faults(&self, bus: &dyn EventBus) -> Option<Box<dyn Faults>> {
        let _ = bus;
        None
    }

    /// Writes bytes that are no envelope to a topic, as another program would. Needs
    /// [`Feature::Plant`].
    ///
    /// # Errors
    /// When that fails.
    async fn plant(&self, topic: &Topic, bytes: Bytes) -> Result<(), Error> {
        let _ = (topic, bytes);
        Err(missing(Feature::Plant))
    }

    /// The same, with native headers. Needs [`Feature::PlantHeaders`].
    ///
    /// # Errors
    /// When that fails.
    async fn plant_with_headers(
        &self,
        topic: &Topic,
        headers: &[(String, String)],
        bytes: Bytes,
    ) -> Result<(), Error> {
        let _ = (topic, headers, bytes);
        Err(missing(Feature::PlantHeaders))
    }

    /// Makes the broker keep at most about this many bytes of `topic`, dropping the oldest.
    /// Called before the first connect that uses the topic. Needs [`Feature::Retention`].
    ///
    /// # Errors
    /// When that fails.
    async fn limit_retention(&self, topic: &Topic, bytes: usize) -> Result<(), Error> {
        let _ = (topic, bytes);
        Err(missing(Feature::Retention))
    }

    /// Gives `topic` this many partitions, more than it has. Needs [`Feature::Partitions`].
    ///
    /// # Errors
    /// When that fails.
    async fn add_partitions(&self, topic: &Topic, total: u32) -> Result<(), Error> {
        let _ = (topic, total);
        Err(missing(Feature::Partitions))
    }

    /// Kills the broker without warning and starts it again on the same store; resolves
    /// when it answers. Needs [`Feature::Restart`].
    ///
    /// # Errors
    /// When that fails.
    async fn restart_broker(&self) -> Result<(), Error> {
        Err(missing(Feature::Restart))
    }

    /// Freezes the broker, connections included, until [`resume_broker`](Self::resume_broker).
    /// Needs [`Feature::Pause`].
    ///
    /// # Errors
    /// When that fails.
    async fn pause_broker(&self) -> Result<(), Error> {
        Err(missing(Feature::Pause))
    }

    /// Lets a frozen broker go on.
    ///
    /// # Errors
    /// When that fails.
    async fn resume_broker(&self) -> Result<(), Error> {
        Err(missing(Feature::Pause))
    }
}

/// How to connect one bus.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Request {
    /// Its configuration.
    pub config: BusConfig,
    /// Its failure handler.
    pub on_failure: Option<FailureHandler>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("config", &self.config)
            .field("on_failure", &self.on_failure.is_some())
            .finish()
    }
}

/// What a harness may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// [`Faults::fail_next`], [`Faults::hand_back_next`], [`Faults::refuse_topic`].
    FailSends,
    /// [`Harness::hold_acks`].
    HoldAcks,
    /// A bus can be taken apart entirely while the broker does not answer. Where it cannot, the
    /// rest goes as soon as the broker answers again.
    UnansweredClose,
    /// Topics come into being one by one, so that a name that nobody has used is unknown;
    /// not so where one stream covers all names with a prefix.
    SingleTopics,
    /// [`Harness::connect_in_vain`].
    FailedConnect,
    /// [`Harness::plant`].
    Plant,
    /// [`Harness::plant_with_headers`].
    PlantHeaders,
    /// [`Harness::limit_retention`].
    Retention,
    /// [`Harness::add_partitions`].
    Partitions,
    /// [`Harness::restart_broker`].
    Restart,
    /// [`Harness::pause_broker`].
    Pause,
}

impl Feature {
    /// The feature in words, as it stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailSends => "failing sends",
            Self::HoldAcks => "held acknowledgements",
            Self::UnansweredClose => "a close without answers",
            Self::SingleTopics => "single topics",
            Self::FailedConnect => "a failing connect",
            Self::Plant => "planted bytes",
            Self::PlantHeaders => "planted headers",
            Self::Retention => "small retention",
            Self::Partitions => "added partitions",
            Self::Restart => "a broker restart",
            Self::Pause => "a broker pause",
        }
    }
}

/// Faults of the sends of one bus.
pub trait Faults: Send + Sync {
    /// The next `count` sends are refused by the broker: their verdict is `error`.
    fn fail_next(&self, count: usize, error: Error);

    /// The next `count` sends do not reach the broker: the transport hands them back to the
    /// engine as certainly not stored.
    fn hand_back_next(&self, count: usize, error: Error);

    /// All sends to `topic` fail with `error`.
    fn refuse_topic(&self, topic: &Topic, error: Error);

    /// Ends [`refuse_topic`](Self::refuse_topic).
    fn allow_topic(&self, topic: &Topic);
}

/// Acknowledgements that are held back. Dropping it lets them through, and those that follow.
pub struct HeldAcks(Option<Box<dyn FnOnce() + Send + Sync>>);

impl HeldAcks {
    /// A guard that calls `release` once when it is gone.
    #[must_use]
    pub fn new(release: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(release)))
    }

    /// Lets the acknowledgements through.
    pub fn release(self) {}
}

impl Drop for HeldAcks {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

impl fmt::Debug for HeldAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldAcks")
    }
}

fn missing(feature: Feature) -> Error {
    Error::new(ErrorKind::Unsupported, "the harness lists a feature that it does not implement")
        .with_context("feature", feature.as_str())
}
