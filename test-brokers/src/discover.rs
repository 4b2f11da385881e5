//! Which broker a test gets.
//!
//! In this order:
//! 1. the one that `EVENTBUS_TEST_NATS_URL` or `EVENTBUS_TEST_KAFKA_BOOTSTRAP`
//!    names, which has no fault controls;
//! 2. one in Docker (not there yet);
//! 3. a native one, started here.
//!
//! `EVENTBUS_TEST_BROKERS=docker|native|external` forces one of them. A line on
//! stderr says which it is.

use std::env;

use crate::{Error, Kafka, Nats};

/// The URL of a running NATS server.
pub const NATS_URL: &str = "EVENTBUS_TEST_NATS_URL";
/// The address, `host:port`, of a running Kafka broker.
pub const KAFKA_BOOTSTRAP: &str = "EVENTBUS_TEST_KAFKA_BOOTSTRAP";
/// Forces a kind of broker.
pub const BROKERS: &str = "EVENTBUS_TEST_BROKERS";

/// A broker that was found or started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Found<B> {
    /// One that runs elsewhere: its URL. Nothing about it can be controlled.
    External(String),
    /// One that this process started.
    Native(B),
}

impl<B> Found<B> {
    /// The broker's fault controls, if this process started it.
    pub fn controls(&self) -> Option<&B> {
        match self {
            Self::External(_) => None,
            Self::Native(broker) => Some(broker),
        }
    }
}

impl Found<Nats> {
    /// Where clients connect, such as `nats://127.0.0.1:4222`.
    pub fn url(&self) -> &str {
        match self {
            Self::External(url) => url,
            Self::Native(nats) => nats.url(),
        }
    }
}

impl Found<Kafka> {
    /// Where clients connect, such as `kafka://127.0.0.1:9092`.
    pub fn url(&self) -> &str {
        match self {
            Self::External(url) => url,
            Self::Native(kafka) => kafka.url(),
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
        Choice::Native => {
            let nats = Nats::start().await?;
            eprintln!(
                "test-brokers: NATS is native, version {}, at {}",
                nats.version(),
                nats.url()
            );
            Found::Native(nats)
        }
    })
}

/// A Kafka broker.
pub async fn kafka() -> Result<Found<Kafka>, Error> {
    Ok(match choose(KAFKA_BOOTSTRAP)? {
        Choice::External(bootstrap) => {
            eprintln!("test-brokers: Kafka is {KAFKA_BOOTSTRAP}");
            Found::External(format!("kafka://{bootstrap}"))
        }
        Choice::Native => {
            let kafka = Kafka::start().await?;
            eprintln!(
                "test-brokers: Kafka is native, version {}, at {}",
                kafka.version(),
                kafka.url()
            );
            Found::Native(kafka)
        }
    })
}

#[derive(Debug, PartialEq)]
enum Choice {
    External(String),
    Native,
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
        (None | Some("native"), _) => Ok(Choice::Native),
        (Some(_), _) => {
            let value = forced.unwrap_or_default();
            let reason = match value.as_str() {
                "external" => format!("set {external} to the address of a running broker"),
                "docker" => "brokers in Docker are not supported yet: use `native` or `external`, \
                     or leave it unset"
                    .to_owned(),
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
    fn an_address_comes_first_and_a_native_broker_last() {
        let external = Choice::External("nats://host".to_owned());
        assert_eq!(decided(None, Some("nats://host")), Ok(external));
        assert_eq!(decided(None, None), Ok(Choice::Native));
        assert_eq!(decided(Some("native"), Some("nats://host")), Ok(Choice::Native));
    }

    #[test]
    fn what_cannot_be_says_what_to_do() {
        let error = decided(Some("external"), None).unwrap_err();
        assert!(error.contains("set EVENTBUS_TEST_NATS_URL"), "{error}");
        let error = decided(Some("docker"), None).unwrap_err();
        assert!(error.contains("not supported yet"), "{error}");
        let error = decided(Some("podman"), None).unwrap_err();
        assert!(error.contains("expected `docker`"), "{error}");
    }
}
