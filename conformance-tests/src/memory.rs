//! The harness of `memory://`.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use eventbus_conformance::{Faults, Feature, Harness, HeldAcks, Request};
use eventbus_core::{Error, ErrorKind, EventBus, Registry, Topic};
use eventbus_memory::testing::Probe;
use uuid::Uuid;

/// A broker in this process, for one scenario.
#[derive(Debug)]
pub struct Memory {
    name: String,
    retention: OnceLock<usize>,
    /// Keeps the broker alive while no bus is connected.
    broker: OnceLock<Probe>,
}

impl Memory {
    /// A broker of its own, started by the first connect.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: Uuid::now_v7().simple().to_string(),
            retention: OnceLock::new(),
            broker: OnceLock::new(),
        }
    }
}

impl Memory {
    /// One that keeps about this many bytes of each topic.
    #[must_use]
    pub fn with_retention(bytes: usize) -> Self {
        Self { retention: OnceLock::from(bytes), ..Self::new() }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    registry
}

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn features(&self) -> &[Feature] {
        &[
            Feature::FailSends,
            Feature::HoldAcks,
            Feature::UnansweredClose,
            Feature::SingleTopics,
            Feature::FailedConnect,
            Feature::Plant,
            Feature::Retention,
        ]
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        let retention = self.retention.get().map(|bytes| format!("?retention_bytes={bytes}"));
        let url = format!("memory://{}{}", self.name, retention.unwrap_or_default());
        let mut builder = registry().builder(&url).config(request.config);
        if let Some(handler) = request.on_failure {
            builder = builder.on_publish_failure(move |failure| handler(failure));
        }
        let bus = builder.connect().await?;
        if let Some(probe) = Probe::of(&*bus) {
            let _ = self.broker.set(probe);
        }
        Ok(bus)
    }

    async fn connect_in_vain(&self) -> Result<Arc<dyn EventBus>, Error> {
        registry().builder("memory://?retention_bytes=0").connect().await
    }

    fn hold_acks(&self, bus: &dyn EventBus) -> Result<HeldAcks, Error> {
        let Some(probe) = Probe::of(bus) else {
            return Err(Error::new(ErrorKind::Unexpected, "this is no memory bus"));
        };
        probe.hold_acks();
        Ok(HeldAcks::new(move || probe.release_acks()))
    }

    fn faults(&self, bus: &dyn EventBus) -> Option<Box<dyn Faults>> {
        Some(Box::new(MemoryFaults(Probe::of(bus)?)))
    }

    async fn plant(&self, topic: &Topic, bytes: Bytes) -> Result<(), Error> {
        if let Some(broker) = self.broker.get() {
            broker.plant(topic, bytes);
        }
        Ok(())
    }

    async fn limit_retention(&self, _: &Topic, bytes: usize) -> Result<(), Error> {
        let _ = self.retention.set(bytes);
        Ok(())
    }
}

struct MemoryFaults(Probe);

impl Faults for MemoryFaults {
    fn fail_next(&self, count: usize, error: Error) {
        self.0.fail_next(count, error);
    }

    fn hand_back_next(&self, count: usize, error: Error) {
        self.0.hand_back_next(count, error);
    }

    fn refuse_topic(&self, topic: &Topic, error: Error) {
        self.0.refuse_topic(topic, error);
    }

    fn allow_topic(&self, topic: &Topic) {
        self.0.allow_topic(topic);
    }
}
