//! The properties of librdkafka that a configuration may set.

use std::{collections::BTreeMap, fmt};

use eventbus_core::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// Properties of librdkafka, by its own names: URL parameters that start with
/// [`PREFIX`](Self::PREFIX). Those on which the promises of the bus rest are refused, with
/// the reason. `Debug` shows the names alone, because values may be secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Properties(BTreeMap<String, String>);

/// Properties that the bus owns, and why.
const OWNED: &[(&[&str], &str)] = &[
    (
        &["enable.idempotence", "transactional.id"],
        "the idempotent producer is what keeps the order of a key across a lost connection",
    ),
    (
        &["acks", "request.required.acks"],
        "an acknowledgement means that all in-sync replicas have the message",
    ),
    (&["delivery.report.only.error", "dr_cb", "dr_msg_cb"], "every envelope needs its verdict"),
    (
        &["message.timeout.ms", "delivery.timeout.ms"],
        "it follows from `ack_timeout` and `retry_max_elapsed`; set those",
    ),
    (
        &["queue.buffering.max.messages", "queue.buffering.max.kbytes"],
        "the window bounds what is queued; set `max_in_flight` and `max_in_flight_bytes`",
    ),
    (&["message.max.bytes"], "set `max_message_bytes`"),
    (
        &["partitioner", "partitioner_cb"],
        "a key belongs to the partition where Java clients put it",
    ),
    (
        &[
            "enable.auto.commit",
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "offset.store.method",
        ],
        "what is committed follows from what was settled; set `commit_interval`",
    ),
    (
        &["auto.offset.reset"],
        "a start is chosen by `SubscribeOptions::start`, and retention that overtakes a reader \
         is reported",
    ),
    (
        &["partition.assignment.strategy", "group.protocol", "group.remote.assignor"],
        "members of a group must agree; it is cooperative-sticky",
    ),
    (
        &["group.id"],
        "it follows from group and filter; use `SubscribeOptions::native_group` for an exact one",
    ),
    (&["group.instance.id"], "several subscriptions of one process would fence each other"),
    (&["enable.partition.eof"], "the end of a partition is no event of a bus"),
    (&["topic.blacklist"], "the brokers' own topics are excluded already"),
    (&["allow.auto.create.topics"], "set `provision`"),
    (&["bootstrap.servers", "metadata.broker.list"], "servers stand in the URL"),
    (&["log.queue"], "librdkafka's log goes to `tracing`"),
];

impl Properties {
    /// What URL parameters that set properties start with.
    pub const PREFIX: &'static str = "rdkafka.";

    /// Properties by name.
    ///
    /// # Errors
    /// `InvalidConfig` for a property that the bus owns, with the reason, and for those of
    /// TLS and SASL when the feature `kafka-tls` is off.
    pub fn new(
        properties: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<Self, Error> {
        let mut all = BTreeMap::new();
        for (name, value) in properties {
            let (name, value) = (name.into(), value.into());
            check(&name)?;
            all.insert(name, value);
        }
        Ok(Self(all))
    }

    /// The value of a property that was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn check(name: &str) -> Result<(), Error> {
    let refused = |reason: String| {
        Err(Error::new(ErrorKind::InvalidConfig, reason)
            .with_context("parameter", format!("{}{name}", Properties::PREFIX)))
    };
    if let Some((_, reason)) = OWNED.iter().find(|(names, _)| names.contains(&name)) {
        return refused(format!("this property cannot be set: {reason}"));
    }
    let security =
        name == "security.protocol" || name.starts_with("ssl.") || name.starts_with("sasl.");
    if security && !cfg!(feature = "kafka-tls") {
        return refused(
            "this program was built without TLS and SASL for Kafka; enable the Cargo feature \
             `kafka-tls`"
                .to_owned(),
        );
    }
    Ok(())
}

impl TryFrom<BTreeMap<String, String>> for Properties {
    type Error = Error;

    fn try_from(properties: BTreeMap<String, String>) -> Result<Self, Error> {
        Self::new(properties)
    }
}

impl From<Properties> for BTreeMap<String, String> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_properties_are_refused_with_the_reason() {
        for (names, reason) in OWNED {
            for name in *names {
                let error = Properties::new([(*name, "x")]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                assert!(error.to_string().contains(reason), "{name}: {error}");
            }
        }
    }

    #[test]
    fn debug_hides_values() {
        let properties = Properties::new([("client.rack", "hunter2")]).unwrap();
        assert_eq!(format!("{properties:?}"), r#"{"client.rack"}"#);
    }
}
