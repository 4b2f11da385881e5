//! A backend as somebody outside would write it: with the public interface of
//! `eventbus-core` only. A toy, one log in memory behind one lock, and honest about what it
//! cannot do.

mod cursor;
mod log;
mod transport;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eventbus_conformance::{Feature, Harness, Request};
use eventbus_core::{Error, EventBus, Registry, Topic};

use self::{log::Log, transport::OutsideConnector};

/// The harness: one log for one scenario.
pub(crate) struct Outside(Arc<Log>);

impl Outside {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::new();
        registry.register(transport::SCHEME, OutsideConnector(self.0.clone()));
        registry
    }
}

#[async_trait]
impl Harness for Outside {
    fn name(&self) -> &str {
        transport::SCHEME
    }

    fn features(&self) -> &[Feature] {
        &[Feature::SingleTopics, Feature::FailedConnect, Feature::Plant]
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        let mut builder = self.registry().builder("outside://").config(request.config);
        if let Some(handler) = request.on_failure {
            builder = builder.on_publish_failure(move |failure| handler(failure));
        }
        builder.connect().await
    }

    async fn connect_in_vain(&self) -> Result<Arc<dyn EventBus>, Error> {
        self.registry().builder("outside://nowhere").connect().await
    }

    async fn plant(&self, topic: &Topic, bytes: Bytes) -> Result<(), Error> {
        self.0.lock().append(topic, bytes, None);
        Ok(())
    }
}
