//! Which broker a test gets.
//!
//! In this order:
//! 1. the one that `EVENTBUS_TEST_NATS_URL` or `EVENTBUS_TEST_KAFKA_BOOTSTRAP`
//!    names, which has no fault controls;
//! 2. one in a container, where an engine answers and an image can be had;
//! 3. a native one, started here.
//!
//! [`Nats::start`] and [`Kafka::start`] choose between the last two in the same way;
//! clusters are always native. `EVENTBUS_TEST_BROKERS=docker|native|external` forces
//! one of them. A line on stderr says which it is.
//!
//! Containers need the command `docker` and an engine of this machine, which
//! `DOCKER_HOST` may name. The image is `EVENTBUS_TEST_NATS_IMAGE` or
//! `EVENTBUS_TEST_KAFKA_IMAGE`, or else the public one (`nats`, `apache/kafka`) of the
//! version that native brokers have, or else what `test-brokers/images/build.sh`
//! makes where no registry can be reached.

use std::env;

use crate::{Error, Kafka, KafkaBuilder, Nats};

/// The URL of a running NATS server.
pub const NATS_URL: &str = "EVENTBUS_TEST_NATS_URL";
/// The address, `host:port`, of a running Kafka broker.
pub const KAFKA_BOOTSTRAP: &str = "EVENTBUS_TEST_KAFKA_BOOTSTRAP";
/// The image to start NATS from, in a container.
pub const NATS_IMAGE: &str = "EVENTBUS_TEST_NATS_IMAGE";
/// The image to start Kafka from, in a container.
pub const KAFKA_IMAGE: &str = "EVENTBUS_TEST_KAFKA_IMAGE";
/// Forces a kind of broker.
pub const BROKERS: &str = "EVENTBUS_TEST_BROKERS";

/// A broker that was found or started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found<B> {
    /// One that runs elsewhere: its URL. Nothing about it can be controlled.
    External(String),
    /// One that this process started, natively or in a container.
    Started(B),
}

impl<B> Found<B> {
    /// The broker's fault controls, if this process started it.
    pub fn controls(&self) -> Option<&B> {
        match self {
            Self::External(_) => None,
            Self::Started(broker) => Some(broker),
        }
    }
}

impl Found<Nats> {
    /// Where clients connect, such as `nats://127.0.0.1:4222`.
    pub fn url(&self) -> &str {
        match self {
            Self::External(url) => url,
            Self::Started(nats) => nats.url(),
        }
    }
}

impl Found<Kafka> {
    /// Where clients connect, such as `kafka://127.0.0.1:9092`.
    pub fn url(&self) -> &str {
        match self {
            Self::External(url) => url,
            Self::Started(kafka) => kafka.url(),
        }
    }
}

/// A NATS server with JetStream.
pub async fn nats() -> Result<Found<Nats>, Error> {
    Ok(match choose(NATS_URL)? {
        Choice::External(url) => {
            eprintln!("test-brokers: NATS is {NATS_URL}");
            Found::External(url)
        }
        Choice::Start => {
            let nats = Nats::start().await?;
            eprintln!(
                "test-brokers: NATS is {}, version {}, at {}",
                place(nats.image()),
                nats.version(),
                nats.url()
            );
            Found::Started(nats)
        }
    })
}

/// A Kafka broker.
pub async fn kafka() -> Result<Found<Kafka>, Error> {
    kafka_by(Kafka::builder()).await
}

/// A Kafka broker, started with these options if one is started.
pub async fn kafka_by(options: KafkaBuilder) -> Result<Found<Kafka>, Error> {
    Ok(match choose(KAFKA_BOOTSTRAP)? {
        Choice::External(bootstrap) => {
            eprintln!("test-brokers: Kafka is {KAFKA_BOOTSTRAP}");
            Found::External(format!("kafka://{bootstrap}"))
        }
        Choice::Start => {
            let kafka = options.start().await?;
            eprintln!(
                "test-brokers: Kafka is {}, version {}, at {}",
                place(kafka.image()),
                kafka.version(),
                kafka.url()
            );
            Found::Started(kafka)
        }
    })
}

fn place(image: Option<&str>) -> String {
    image.map_or_else(|| "native".to_owned(), |image| format!("in a container of {image}"))
}

#[derive(Debug, PartialEq)]
enum Choice {
    External(String),
    /// In a container or natively.
    Start,
}

fn choose(external: &'static str) -> Result<Choice, Error> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    decide(external, variable(BROKERS), variable(external))
}

/// `address` is the value of the variable `external`.
fn decide(
    external: &'static str,
    forced: Option<String>,
    address: Option<String>,
) -> Result<Choice, Error> {
    match (forced.as_deref(), address) {
        (None | Some("external"), Some(address)) => Ok(Choice::External(address)),
        (None | Some("native" | "docker"), _) => Ok(Choice::Start),
        (Some(_), _) => {
            let value = forced.unwrap_or_default();
            let reason = match value.as_str() {
                "external" => format!("set {external} to the address of a running broker"),
                _ => "expected `docker`, `native` or `external`".to_owned(),
            };
            Err(Error::Environment { variable: BROKERS, value, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(forced: Option<&str>, address: Option<&str>) -> Result<Choice, String> {
        decide(NATS_URL, forced.map(str::to_owned), address.map(str::to_owned))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_comes_first() {
        let external = Choice::External("nats://host".to_owned());
        assert_eq!(decided(None, Some("nats://host")), Ok(external));
        assert_eq!(decided(None, None), Ok(Choice::Start));
        for started in ["native", "docker"] {
            assert_eq!(decided(Some(started), Some("nats://host")), Ok(Choice::Start));
        }
    }

    #[test]
    fn what_cannot_be_says_what_to_do() {
        let error = decided(Some("external"), None).unwrap_err();
        assert!(error.contains("set EVENTBUS_TEST_NATS_URL"), "{error}");
        let error = decided(Some("podman"), None).unwrap_err();
        assert!(error.contains("expected `docker`"), "{error}");
    }
}
