//! Testing your own service: a bus in memory, and a [`Probe`] to look behind it.
//!
//! The service gets an `Arc<dyn EventBus>` as it does in production. The test looks at what
//! it published, and makes publishing fail when it wants to see what the service does then.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use eventbus_core::{Envelope, Error, ErrorKind, EventBus, EventBusExt, PublishError, Topic};
//! use eventbus_memory::testing;
//!
//! const ORDERS: Topic = Topic::from_static("orders.created");
//!
//! struct Shop {
//!     bus: Arc<dyn EventBus>,
//! }
//!
//! impl Shop {
//!     async fn order(&self, id: u32) -> Result<(), PublishError> {
//!         let event = Envelope::new("order.created", id.to_string()).key(id.to_string());
//!         self.bus.publish_sync(&ORDERS, event).await?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (bus, probe) = testing::bus().await;
//! let shop = Shop { bus };
//!
//! shop.order(42).await?;
//! let events = probe.assert_published(&ORDERS, 1);
//! assert_eq!(events[0].aggregate_id(), Some("42"));
//!
//! // What if the broker is away?
//! probe.fail_next(1, Error::new(ErrorKind::Unavailable, "no leader"));
//! let failed = shop.order(43).await.unwrap_err();
//! assert_eq!(failed.kind(), ErrorKind::Unavailable);
//! assert_eq!(failed.envelope().aggregate_id(), Some("43"));
//! probe.assert_published(&ORDERS, 1);
//! # Ok(())
//! # }
//! ```
//!
//! What a service does in the background is waited for, not slept for:
//!
//! ```
//! # use std::time::Duration;
//! # use eventbus_core::{Envelope, EventBusExt, SubscribeOptions, Topic};
//! # use eventbus_memory::testing;
//! # const ORDERS: Topic = Topic::from_static("orders.created");
//! const BILLS: Topic = Topic::from_static("bills.written");
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (bus, probe) = testing::bus().await;
//! # let service = bus.clone();
//! # let mut orders = service.subscribe(&ORDERS.filter(), SubscribeOptions::group("billing")).await?;
//! # tokio::spawn(async move {
//! #     while let Ok(Some(order)) = orders.try_next().await {
//! #         let bill = Envelope::new("bill.written", "…").caused_by(order.envelope());
//! #         service.publish(&BILLS, bill).await.unwrap();
//! #         order.ack().await.unwrap();
//! #     }
//! # });
//! // The service under test reads orders and writes bills.
//! bus.publish(&ORDERS, Envelope::new("order.created", "42")).await?;
//! let bills = probe.wait_published(&BILLS, 1, Duration::from_secs(10)).await?;
//! assert_eq!(bills[0].event_type(), "bill.written");
//! # Ok(())
//! # }
//! ```
//!
//! `ack_wait` and the delays of nacks follow Tokio's clock, so that a test with paused time
//! (`#[tokio::test(start_paused = true)]`) does not have to wait for them.

mod faults;
mod watch;

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use eventbus_core::{Envelope, Error, EventBus, Registry, Topic};

use crate::{MemoryBus, broker::Broker, key::hash_key};
use faults::Fate;
pub(crate) use faults::Faults;
pub(crate) use watch::Watch;

/// A bus with a broker of its own, and its probe.
///
/// # Panics
/// Outside a Tokio runtime.
pub async fn bus() -> (Arc<dyn EventBus>, Probe) {
    let mut registry = Registry::new();
    crate::register(&mut registry);
    let bus = registry.builder("memory://").connect().await;
    let bus = bus.expect("a memory bus without parameters connects");
    let probe = Probe::of(&*bus).expect("a memory bus has a probe");
    (bus, probe)
}

/// Looks behind a memory bus: what its broker has stored, by whichever bus, and faults of what
/// this bus sends. It keeps the broker alive.
#[derive(Clone)]
pub struct Probe {
    broker: Arc<Broker>,
    faults: Arc<Faults>,
}

impl Probe {
    /// The probe of a memory bus; `None` for a bus of another kind, also one that wraps a
    /// memory bus without giving access to it.
    ///
    /// ```
    /// # use eventbus_core::Registry;
    /// # use eventbus_memory::testing::Probe;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), eventbus_core::Error> {
    /// # let mut registry = Registry::new();
    /// # eventbus_memory::register(&mut registry);
    /// let bus = registry.builder("memory://?max_in_flight=16").connect().await?;
    /// let probe = Probe::of(&*bus).expect("a memory bus");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn of(bus: &dyn EventBus) -> Option<Self> {
        let transport = bus.as_any().downcast_ref::<MemoryBus>()?.transport();
        Some(Self { broker: transport.broker.clone(), faults: transport.faults.clone() })
    }

    /// What is stored in `topic`, oldest first, as far as it is retained. Nothing if the topic
    /// does not exist.
    #[must_use]
    pub fn published(&self, topic: &Topic) -> Vec<Envelope> {
        let log = self.broker.find(topic);
        let records = log.map(|log| log.records()).unwrap_or_default();
        records.into_iter().filter_map(|record| Envelope::from_bytes(record.encoded).ok()).collect()
    }

    /// How many messages were stored in `topic` so far, those no longer retained included.
    #[must_use]
    pub fn published_count(&self, topic: &Topic) -> usize {
        let log = self.broker.find(topic);
        let count = log.map_or(0, |log| log.bounds().1);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Waits until at least `count` messages were stored in `topic`, and gives what
    /// [`published`](Self::published) gives. Cancel-safe.
    ///
    /// # Errors
    /// [`NotPublished`] when there are not that many `within` that time.
    pub async fn wait_published(
        &self,
        topic: &Topic,
        count: usize,
        within: Duration,
    ) -> Result<Vec<Envelope>, NotPublished> {
        let enough = || self.published_count(topic) >= count;
        let waited = tokio::time::timeout(within, self.broker.watch.until(enough)).await;
        if waited.is_err() && !enough() {
            return Err(NotPublished {
                topic: topic.clone(),
                wanted: count,
                found: self.published_count(topic),
                within,
            });
        }
        Ok(self.published(topic))
    }

    /// Asserts that exactly `count` messages were stored in `topic` so far, and gives what
    /// [`published`](Self::published) gives.
    ///
    /// # Panics
    /// When it were more or fewer; the message lists those that are retained.
    #[track_caller]
    #[allow(clippy::must_use_candidate, reason = "asserting the number alone is fine")]
    pub fn assert_published(&self, topic: &Topic, count: usize) -> Vec<Envelope> {
        let published = self.published(topic);
        let found = self.published_count(topic);
        assert!(
            found == count,
            "expected {count} messages in {topic}, found {found}: {published:#?}"
        );
        published
    }

    /// Stores bytes that are no envelope, as another program might; the topic is created if it
    /// does not exist.
    pub fn plant(&self, topic: &Topic, bytes: Bytes) {
        self.broker.find_or_create(topic).append(bytes, hash_key(None), None);
    }

    /// Fails the next `count` sends of this bus with `error` as their verdict, and stores
    /// nothing of them. What is ordered later comes after what was ordered before.
    pub fn fail_next(&self, count: usize, error: Error) {
        self.faults.next(count, Fate::Failed, error);
    }

    /// Hands the next `count` sends of this bus back as certainly not stored, so that the
    /// retry policy decides: without one they fail with `error`.
    pub fn hand_back_next(&self, count: usize, error: Error) {
        self.faults.next(count, Fate::HandedBack, error);
    }

    /// Fails all sends of this bus to `topic` with `error`, until it is
    /// [allowed](Self::allow_topic) again; for example to a dead-letter topic.
    pub fn refuse_topic(&self, topic: &Topic, error: Error) {
        self.faults.refuse(topic.clone(), error);
    }

    /// Lets sends to `topic` through again.
    pub fn allow_topic(&self, topic: &Topic) {
        self.faults.allow(topic);
    }

    /// Holds the acknowledgements of this bus's sends back from now on: they are stored and
    /// delivered, but their publisher does not know.
    pub fn hold_acks(&self) {
        self.faults.hold();
    }

    /// Lets the acknowledgements through that were held back, and all later ones. After the
    /// bus's `ack_timeout` they are late: the publisher has been told `AckTimeout` by then.
    pub fn release_acks(&self) {
        self.faults.release();
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// Fewer messages were published than a test waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotPublished {
    /// The topic.
    pub topic: Topic,
    /// How many were waited for.
    pub wanted: usize,
    /// How many there were.
    pub found: usize,
    /// How long it was waited.
    pub within: Duration,
}

impl fmt::Display for NotPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} messages were published to {} within {:?}",
            self.found, self.wanted, self.topic, self.within
        )
    }
}

impl StdError for NotPublished {}
