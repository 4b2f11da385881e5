//! The Kafka backend of eventbus: `kafka://`.
//!
//! ```no_run
//! # async fn example() -> Result<(), eventbus_core::Error> {
//! let mut registry = eventbus_core::Registry::new();
//! eventbus_kafka::register(&mut registry);
//! let bus = registry.builder("kafka://a:9092,b:9092?partitions=6&replicas=3").connect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Topics are Kafka topics, the ordering key is the Kafka key, the value of a message is an
//! envelope in the compact wire format, except in raw topics. librdkafka is built along; the features `kafka-tls`
//! (TLS and SASL), `kafka-dynamic` (the librdkafka of the system), `zstd` and `lz4` change how.
//! See [`KafkaConfig`] for what a URL can say.

mod client;
mod config;
mod consumer;
mod diagnosis;
mod error;
mod provision;
mod publish;
mod raw;
mod settle;
mod subscribe;
mod transport;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use eventbus_core::{
    Bus, BusConfig, Error, EventBus, Registry,
    backend::{Connect, Connector, Window},
};

pub use config::{KafkaConfig, Properties, SaslMechanism, Secret};
pub use publish::{DeliveryContext, Producer};
pub use rdkafka;
pub use subscribe::KafkaSource;
pub use transport::KafkaTransport;

/// The URL scheme.
pub const SCHEME: &str = "kafka";

/// The bus behind `kafka://` URLs, for downcasting with
/// [`as_any`](eventbus_core::EventBus::as_any).
pub type KafkaBus = Bus<KafkaTransport>;

/// Makes `kafka://` URLs known to `registry`.
pub fn register(registry: &mut Registry) {
    registry.register(SCHEME, KafkaConnector);
}

/// Connects a bus by a configuration in place of a URL.
///
/// # Errors
/// `InvalidConfig`, `Unavailable` and `Unauthorized`.
pub async fn connect(
    config: KafkaConfig,
    bus: BusConfig,
    on_failure: Option<eventbus_core::FailureHandler>,
) -> Result<KafkaBus, Error> {
    bus.validate()?;
    let window = Window::new(bus.clone(), on_failure);
    let transport = KafkaTransport::connect(config, &bus, window.verdicts()).await?;
    Ok(Bus::start(window, transport))
}

struct KafkaConnector;

#[async_trait]
impl Connector for KafkaConnector {
    fn parameters(&self) -> &'static [&'static str] {
        KafkaConfig::PARAMETERS
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn EventBus>, Error> {
        let Connect { mut url, config, on_failure, .. } = request;
        let kafka = KafkaConfig::from_url(&mut url)?;
        let known = KafkaConfig::PARAMETERS.iter().chain(BusConfig::PARAMETERS);
        url.parameters.finish(known.copied())?;
        Ok(Arc::new(connect(kafka, config, on_failure).await?))
    }
}
