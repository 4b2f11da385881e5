//! What a scenario gets.

use std::{fmt, sync::Arc};

use eventbus_core::{BusConfig, Envelope, EventBus, SubscribeOptions, Topic, TopicFilter};
use uuid::Uuid;

use crate::{Failure, Faults, Harness, HeldAcks, Request, Result};

/// A harness, and names that no other scenario and no other run uses.
#[derive(Clone)]
pub struct Context {
    harness: Arc<dyn Harness>,
    tag: String,
}

impl Context {
    /// A context with new names.
    #[must_use]
    pub fn new(harness: Arc<dyn Harness>) -> Self {
        let tag = format!("c{:x}", Uuid::now_v7().as_u128() & 0xFFFF_FFFF_FFFF);
        Self { harness, tag }
    }

    /// The same harness, and new names.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.harness.clone())
    }

    /// The harness, for what only some can do.
    #[must_use]
    pub fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    /// A topic of this scenario: `name` may have dots.
    ///
    /// # Errors
    /// When `name` is no topic name.
    #[track_caller]
    pub fn topic(&self, name: &str) -> Result<Topic> {
        Ok(format!("{}.{name}", self.tag).parse()?)
    }

    /// A filter over topics of this scenario.
    ///
    /// # Errors
    /// When `pattern` is no filter.
    #[track_caller]
    pub fn filter(&self, pattern: &str) -> Result<TopicFilter> {
        Ok(format!("{}.{pattern}", self.tag).parse()?)
    }

    /// The options of a member of a group of this scenario.
    #[must_use]
    pub fn group(&self, name: &str) -> SubscribeOptions {
        SubscribeOptions::group(format!("{}-{name}", self.tag))
    }

    /// Connects a bus with the default configuration.
    ///
    /// # Errors
    /// When that fails.
    #[track_caller]
    pub fn bus(&self) -> impl Future<Output = Result<Arc<dyn EventBus>>> {
        self.bus_with(|_| {})
    }

    /// Connects a bus that `adapt` configures.
    ///
    /// # Errors
    /// When that fails.
    #[track_caller]
    pub fn bus_with(
        &self,
        adapt: impl FnOnce(&mut Request),
    ) -> impl Future<Output = Result<Arc<dyn EventBus>>> {
        let at = std::panic::Location::caller();
        let mut request = Request::default();
        adapt(&mut request);
        let harness = self.harness.clone();
        async move {
            let bus = harness.connect(request).await;
            bus.map_err(|error| Failure::at(at, error.to_string()))
        }
    }

    /// An envelope with this key that is exactly as large as a bus with the default
    /// configuration takes.
    #[must_use]
    pub fn largest_envelope(&self, bus: &Arc<dyn EventBus>, key: &str) -> Envelope {
        let limit = BusConfig::default().max_envelope_bytes;
        let limit = limit.min(bus.capabilities().max_message_bytes);
        let empty = Envelope::new("conformance.large", Vec::new()).key(key);
        let room = limit - empty.encoded_len();
        empty.with_payload(vec![b'x'; room])
    }

    /// Keeps acknowledgements from `bus`, until the guard is released or dropped.
    ///
    /// # Errors
    /// When the harness lists it and cannot.
    #[track_caller]
    pub fn hold_acks(&self, bus: &Arc<dyn EventBus>) -> Result<HeldAcks> {
        Ok(self.harness.hold_acks(&**bus)?)
    }

    /// The fault injection of `bus`.
    ///
    /// # Errors
    /// When the harness lists it and has none.
    #[track_caller]
    pub fn faults(&self, bus: &Arc<dyn EventBus>) -> Result<Box<dyn Faults>> {
        self.harness
            .faults(&**bus)
            .ok_or_else(|| Failure::new("the harness gave no fault injection for this bus"))
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("harness", &self.harness.name())
            .field("tag", &self.tag)
            .finish()
    }
}
