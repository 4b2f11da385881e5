//! The harness of `nats://`: a server of its own for each scenario.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use eventbus_conformance::{Feature, Harness, HeldAcks, Request};
use eventbus_core::{Error, ErrorKind, EventBus, Registry, Topic};
use eventbus_nats::async_nats;
use test_brokers::Nats;
use tokio::sync::OnceCell;

/// A server, and how the buses of the scenario reach it.
pub(crate) struct NatsHarness {
    name: &'static str,
    /// Further URL parameters.
    parameters: &'static str,
    server: OnceCell<Arc<Nats>>,
    retention: OnceLock<String>,
}

impl NatsHarness {
    pub(crate) fn new(name: &'static str, parameters: &'static str) -> Self {
        Self { name, parameters, server: OnceCell::new(), retention: OnceLock::new() }
    }

    async fn server(&self) -> Result<&Arc<Nats>, Error> {
        let start = || async { Nats::start().await.map(Arc::new).map_err(broken) };
        self.server.get_or_try_init(start).await
    }
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_nats::register(&mut registry);
    registry
}

fn broken(failure: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the test's server does not do what it should")
        .with_context("cause:", &failure)
        .with_source(failure)
}

#[async_trait]
impl Harness for NatsHarness {
    fn name(&self) -> &str {
        self.name
    }

    fn features(&self) -> &[Feature] {
        &[
            Feature::HoldAcks,
            Feature::UnansweredClose,
            Feature::FailedConnect,
            Feature::Plant,
            Feature::PlantHeaders,
            Feature::Retention,
            Feature::Restart,
            Feature::Pause,
        ]
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        let server = self.server().await?.url();
        let retention = self.retention.get().map(String::as_str).unwrap_or_default();
        let url = format!("{server}?{}{retention}", self.parameters);
        let mut builder = registry().builder(&url).config(request.config);
        if let Some(handler) = request.on_failure {
            builder = builder.on_publish_failure(move |failure| handler(failure));
        }
        builder.connect().await
    }

    async fn connect_in_vain(&self) -> Result<Arc<dyn EventBus>, Error> {
        registry().builder("nats://127.0.0.1:1").connect().await
    }

    /// Freezes the server, which then answers nobody.
    fn hold_acks(&self, _: &dyn EventBus) -> Result<HeldAcks, Error> {
        let Some(server) = self.server.get().cloned() else {
            return Err(Error::new(ErrorKind::Unexpected, "the server was not started"));
        };
        server.pause().map_err(broken)?;
        Ok(HeldAcks::new(move || {
            // A scenario that goes on with a frozen server fails by itself.
            let _ = server.resume();
        }))
    }

    async fn plant(&self, topic: &Topic, bytes: Bytes) -> Result<(), Error> {
        self.plant_with_headers(topic, &[], bytes).await
    }

    async fn plant_with_headers(
        &self,
        topic: &Topic,
        headers: &[(String, String)],
        bytes: Bytes,
    ) -> Result<(), Error> {
        let client = async_nats::connect(self.server().await?.url()).await.map_err(broken)?;
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.as_str(), value.as_str());
        }
        let request = async_nats::Request::new().headers(map).payload(bytes);
        let answer = client.send_request(format!("eb.{topic}"), request).await.map_err(broken)?;
        let answer = String::from_utf8_lossy(&answer.payload).into_owned();
        match answer.contains("\"error\"") {
            true => Err(Error::new(ErrorKind::Rejected, answer)),
            false => Ok(()),
        }
    }

    async fn limit_retention(&self, topic: &Topic, bytes: usize) -> Result<(), Error> {
        let _ = self.retention.set(format!("&streams=KEPT:{topic}&max_bytes={bytes}"));
        Ok(())
    }

    async fn restart_broker(&self) -> Result<(), Error> {
        let server = self.server().await?;
        server.kill();
        server.restart().await.map_err(broken)
    }

    async fn pause_broker(&self) -> Result<(), Error> {
        self.server().await?.pause().map_err(broken)
    }

    async fn resume_broker(&self) -> Result<(), Error> {
        self.server().await?.resume().map_err(broken)
    }
}
