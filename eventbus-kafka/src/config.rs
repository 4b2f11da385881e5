//! How to reach the brokers, and how topics are created.

mod native;
mod properties;
mod url;

use std::{path::PathBuf, time::Duration};

use eventbus_core::{Error, ErrorKind, duration};
use serde::{Deserialize, Serialize};

pub use eventbus_core::Secret;
pub(crate) use native::OVERHEAD_BYTES;
pub use properties::Properties;

/// How the client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// The password as it is: use it over TLS only.
    #[default]
    #[serde(rename = "plain")]
    Plain,
    /// A proof of the password, with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// A proof of the password, with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

impl SaslMechanism {
    const fn native(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The configuration of a Kafka bus. Every field but `servers` and `properties` is also a URL
/// parameter of the same name; the servers, and user and password, stand in the URL itself:
/// `kafka://user:password@a:9092,b:9092?partitions=6`. `rdkafka.NAME` sets the librdkafka
/// property `NAME`, see [`Properties`].
///
/// What says how a topic is to be (`partitions`, `replicas`, `max_bytes`, `max_age`) is used
/// when a topic is created; an existing topic is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaConfig {
    /// `host` or `host:port` of some brokers, port 9092 by default. The others are learned
    /// from these.
    pub servers: Vec<String>,
    /// The name of the client (`client.id`), as the broker's logs and quotas show it;
    /// `eventbus` by default.
    pub name: String,
    /// The user. Needs the feature `kafka-tls`.
    pub user: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// How user and password are shown to the broker; `plain` by default.
    pub sasl: SaslMechanism,
    /// Talk TLS. Needs the feature `kafka-tls`.
    pub tls: bool,
    /// A PEM file with the authorities to trust instead of those of the system.
    pub tls_ca: Option<PathBuf>,
    /// A PEM file with the certificate to show to the broker; needs `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// The password of `tls_key`.
    pub tls_key_password: Option<Secret>,
    /// How many partitions a created topic gets; by default what the broker is set to.
    pub partitions: Option<u32>,
    /// How many brokers keep each partition of a created topic; by default what the broker
    /// is set to.
    pub replicas: Option<u32>,
    /// How many bytes each partition of a created topic keeps before the oldest go; by
    /// default what the broker is set to. Whole segments go at a time.
    pub max_bytes: Option<u64>,
    /// How long a created topic keeps messages; by default what the broker is set to.
    #[serde(with = "duration::optional")]
    pub max_age: Option<Duration>,
    /// The largest encoded envelope in bytes that topics take; 1 MiB by default, which is what
    /// brokers allow. Created topics are set to it.
    pub max_message_bytes: usize,
    /// How often what was settled is committed to the broker, at most; 100 ms by default. So
    /// much is delivered again after a crash. A clean end commits everything.
    #[serde(with = "duration")]
    pub commit_interval: Duration,
    /// How long connecting may take; 5 s by default.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Further properties of librdkafka.
    pub properties: Properties,
}

impl KafkaConfig {
    /// The names of all fields that are URL parameters.
    pub const PARAMETERS: &'static [&'static str] = &[
        "name",
        "user",
        "password",
        "sasl",
        "tls",
        "tls_ca",
        "tls_cert",
        "tls_key",
        "tls_key_password",
        "partitions",
        "replicas",
        "max_bytes",
        "max_age",
        "max_message_bytes",
        "commit_interval",
        "connect_timeout",
    ];

    /// A configuration for these servers.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { servers: servers.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the parameter and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        if self.servers.is_empty() || self.servers.iter().any(String::is_empty) {
            return Err(invalid("servers", "name at least one server, and none that is empty"));
        }
        if self.password.is_some() != self.user.is_some() {
            return Err(invalid("password", "`user` and `password` belong together"));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(invalid("tls_cert", "`tls_cert` and `tls_key` belong together"));
        }
        if self.partitions == Some(0) || self.partitions > Some(100_000) {
            return Err(invalid("partitions", "must be between 1 and 100000"));
        }
        if self.replicas == Some(0) || self.replicas > Some(1_000) {
            return Err(invalid("replicas", "must be between 1 and 1000"));
        }
        if !(1_000..=500_000_000).contains(&self.max_message_bytes) {
            return Err(invalid("max_message_bytes", "must be between 1000 and 500000000"));
        }
        if self.connect_timeout.is_zero() || self.commit_interval.is_zero() {
            return Err(invalid(
                "connect_timeout",
                "it and `commit_interval` must be more than zero",
            ));
        }
        self.check_security()
    }

    fn check_security(&self) -> Result<(), Error> {
        let files = self.tls_ca.is_some() || self.tls_cert.is_some();
        if files && !self.tls {
            return Err(invalid("tls", "`tls_ca`, `tls_cert` and `tls_key` need `tls=true`"));
        }
        let secured = self.tls || self.user.is_some();
        if secured && !cfg!(feature = "kafka-tls") {
            return Err(invalid(
                "tls",
                "this program was built without TLS and SASL for Kafka; enable the Cargo feature \
                 `kafka-tls`",
            ));
        }
        Ok(())
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            servers: vec!["localhost:9092".to_owned()],
            name: "eventbus".to_owned(),
            user: None,
            password: None,
            sasl: SaslMechanism::Plain,
            tls: false,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_key_password: None,
            partitions: None,
            replicas: None,
            max_bytes: None,
            max_age: None,
            max_message_bytes: 1 << 20,
            commit_interval: Duration::from_millis(100),
            connect_timeout: Duration::from_secs(5),
            properties: Properties::default(),
        }
    }
}

fn invalid(name: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with_context("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_fields() {
        let mut fields: Vec<String> = KafkaConfig::PARAMETERS
            .iter()
            .chain(&["servers", "properties"])
            .map(|name| (*name).to_owned())
            .collect();
        fields.sort();
        // `deny_unknown_fields` lists what it knows.
        let error = eventbus_core_error_of_unknown_field();
        for field in &fields {
            assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
        }
        assert_eq!(error.matches('`').count() / 2, fields.len() + 1, "{error}");
    }

    fn eventbus_core_error_of_unknown_field() -> String {
        let mut url: eventbus_core::BusUrl = "kafka://?unknown=1".parse().unwrap();
        url.parameters.take::<KafkaConfig>(&["unknown"]).unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_named() {
        let config = KafkaConfig { password: Some(Secret::new("x")), ..KafkaConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("password"));
        let config = KafkaConfig { partitions: Some(0), ..KafkaConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("partitions"));
        let config = KafkaConfig { tls_ca: Some("/x".into()), ..KafkaConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("tls=true"));
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn security_names_its_feature() {
        let config = KafkaConfig { tls: true, ..KafkaConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("kafka-tls"));
    }
}
