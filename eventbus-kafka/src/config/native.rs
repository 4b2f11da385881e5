//! From a configuration to the properties of librdkafka.

use std::time::Duration;

use eventbus_core::BusConfig;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::KafkaConfig;

/// What a message may have on top of the encoded envelope: the key once more, and the frame.
pub(crate) const OVERHEAD_BYTES: usize = 64 << 10;

/// How many dead letters may be queued on top of a full window.
const DEAD_LETTERS: usize = 100_000;

/// So long after its timeout an envelope may still be acknowledged, which is then counted.
const LATE: Duration = Duration::from_secs(1);

impl KafkaConfig {
    /// What all clients share.
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.servers.join(","))
            .set("client.id", &self.name)
            .set("message.max.bytes", (self.max_message_bytes + OVERHEAD_BYTES).to_string())
            // A lost broker is tried again soon, and a frozen one is noticed.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true");
        let protocol = match (self.tls, &self.user) {
            (false, None) => None,
            (true, None) => Some("ssl"),
            (false, Some(_)) => Some("sasl_plaintext"),
            (true, Some(_)) => Some("sasl_ssl"),
        };
        if let Some(protocol) = protocol {
            client.set("security.protocol", protocol);
        }
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            client
                .set("sasl.mechanisms", self.sasl.native())
                .set("sasl.username", user)
                .set("sasl.password", password.expose());
        }
        for (name, file) in [
            ("ssl.ca.location", &self.tls_ca),
            ("ssl.certificate.location", &self.tls_cert),
            ("ssl.key.location", &self.tls_key),
        ] {
            if let Some(file) = file {
                client.set(name, file.display().to_string());
            }
        }
        if let Some(password) = &self.tls_key_password {
            client.set("ssl.key.password", password.expose());
        }
        client
    }

    fn finish(&self, mut client: ClientConfig) -> ClientConfig {
        for (name, value) in self.properties.iter() {
            client.set(name, value);
        }
        // What a broker that hangs up may want is logged at this level and not said elsewhere.
        client.set_log_level(match self.properties.get("debug") {
            Some(_) => RDKafkaLogLevel::Debug,
            None => RDKafkaLogLevel::Info,
        });
        client
    }

    /// The producer of a bus with these limits.
    pub(crate) fn producer(&self, bus: &BusConfig) -> ClientConfig {
        let timeout = millis(bus.ack_timeout + bus.retry_max_elapsed + LATE);
        let messages = bus.max_in_flight + DEAD_LETTERS;
        let kbytes = (2 * bus.max_in_flight_bytes / 1024).clamp(1 << 20, i32::MAX as usize);
        let mut client = self.client();
        client
            // Topics are created by `provision` alone, not by asking for one or sending to it.
            .set("allow.auto.create.topics", "false")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .set("message.timeout.ms", timeout.to_string())
            // A topic that is not there is reported as such, before the envelope times out.
            .set("topic.metadata.propagation.max.ms", (timeout / 2).clamp(500, 30_000).to_string())
            .set("retry.backoff.ms", millis(bus.retry_backoff).clamp(1, 300_000).to_string())
            .set(
                "retry.backoff.max.ms",
                millis(bus.retry_max_backoff).clamp(1, 300_000).to_string(),
            )
            .set("queue.buffering.max.messages", messages.to_string())
            .set("queue.buffering.max.kbytes", kbytes.to_string());
        self.finish(client)
    }

    /// The consumer of a subscription.
    pub(crate) fn consumer(&self, group_id: &str) -> ClientConfig {
        let mut client = self.client();
        client
            .set("group.id", group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("allow.auto.create.topics", "false")
            .set("topic.blacklist", "^__")
            .set("topic.metadata.refresh.interval.ms", "5000")
            // Who is at the end misses nothing.
            .set("enable.partition.eof", "true")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.wait.max.ms", "500")
            .set("queued.max.messages.kbytes", "16384")
            // A frozen coordinator holds up a rebalance for so long.
            .set("socket.timeout.ms", "10000")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000");
        self.finish(client)
    }

    /// The client that creates topics.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.finish(self.client())
    }
}

fn millis(duration: Duration) -> u64 {
    // What librdkafka takes at most.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i32::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Properties;

    #[test]
    fn librdkafka_knows_every_property() {
        let config = KafkaConfig::default();
        for client in [config.producer(&BusConfig::default()), config.consumer("g"), config.admin()]
        {
            client.create_native_config().unwrap();
        }
    }

    #[test]
    fn own_properties_win_where_they_may() {
        let config = KafkaConfig {
            properties: Properties::new([("linger.ms", "7")]).unwrap(),
            ..KafkaConfig::default()
        };
        assert_eq!(config.producer(&BusConfig::default()).get("linger.ms"), Some("7"));
    }

    #[test]
    fn message_timeout_covers_the_retries() {
        let mut bus = BusConfig::default();
        bus.retry_max_elapsed = Duration::from_secs(60);
        let producer = KafkaConfig::default().producer(&bus);
        assert_eq!(producer.get("message.timeout.ms"), Some("66000"));
    }
}
