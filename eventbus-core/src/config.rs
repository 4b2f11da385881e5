//! The configuration that every bus has, whatever its backend.

pub mod duration;
mod parameters;
mod raw;
mod secret;
mod url;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use parameters::Parameters;
pub use raw::RawTopics;
pub use secret::Secret;
pub use url::BusUrl;

use crate::{Error, ErrorKind};

/// The longest time that can be configured, far from where clocks overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a bus does about topics that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Provision {
    /// Creates them on first use.
    #[default]
    Create,
    /// Refuses to publish to them with `TopicNotFound`, and checks before the first publish.
    Verify,
    /// Neither creates nor checks: what the broker answers is the verdict.
    None,
}

/// When and how long the engine sends an entry again that certainly was not stored.
///
/// While an entry waits for its next try, later ones with its key wait behind it. When it
/// gives up, it and all behind it are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How long after the first failure the last try starts at the latest; zero means
    /// that nothing is retried.
    pub max_elapsed: Duration,
    /// The pause before the first retry; it doubles from one to the next.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// Nothing is retried.
    #[must_use]
    pub const fn none() -> Self {
        Self::for_at_most(Duration::ZERO)
    }

    /// Retries for at most `max_elapsed`, with pauses from 50 ms to 2 s.
    #[must_use]
    pub const fn for_at_most(max_elapsed: Duration) -> Self {
        Self {
            max_elapsed,
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
        }
    }

    /// Sets the pauses: the first, and the longest.
    #[must_use]
    pub const fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = first;
        self.max_backoff = longest;
        self
    }

    /// Whether nothing is retried.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.max_elapsed.is_zero()
    }
}

/// The configuration of a bus. Every field is also a URL parameter of the same name:
/// `memory://?max_in_flight=1000&ack_timeout=2s`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BusConfig {
    /// How many envelopes may be accepted without a verdict; 4096 by default.
    pub max_in_flight: usize,
    /// How many encoded bytes those may have together; 64 MiB by default.
    pub max_in_flight_bytes: usize,
    /// The largest encoded envelope in bytes; 1 MiB less 16 KiB by default, which leaves
    /// room for the headers of a dead letter within the brokers' default of 1 MiB.
    pub max_envelope_bytes: usize,
    /// How long an envelope may stay without an acknowledgement; 5 s by default.
    #[serde(with = "duration")]
    pub ack_timeout: Duration,
    /// How many acknowledgements complete in one wake-up at most; 256 by default.
    pub ack_batch_size: usize,
    /// How long `close` waits for verdicts and for deliveries to be settled; 10 s by default.
    #[serde(with = "duration")]
    pub close_timeout: Duration,
    /// What to do about topics that do not exist; `create` by default.
    pub provision: Provision,
    /// [`RetryPolicy::max_elapsed`]; zero, so no retries, by default.
    #[serde(with = "duration")]
    pub retry_max_elapsed: Duration,
    /// [`RetryPolicy::backoff`]; 50 ms by default.
    #[serde(with = "duration")]
    pub retry_backoff: Duration,
    /// [`RetryPolicy::max_backoff`]; 2 s by default.
    #[serde(with = "duration")]
    pub retry_max_backoff: Duration,
    /// The topics whose messages other programs write or read: their payload is the body alone,
    /// and all else travels in native headers, where the backend has any; none by default.
    pub raw: RawTopics,
}

impl BusConfig {
    /// The names of all fields, which are the URL parameters of every backend.
    pub const PARAMETERS: &'static [&'static str] = &[
        "max_in_flight",
        "max_in_flight_bytes",
        "max_envelope_bytes",
        "ack_timeout",
        "ack_batch_size",
        "close_timeout",
        "provision",
        "retry_max_elapsed",
        "retry_backoff",
        "retry_max_backoff",
        "raw",
    ];

    /// The retry policy of the bus.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        RetryPolicy::for_at_most(self.retry_max_elapsed)
            .with_backoff(self.retry_backoff, self.retry_max_backoff)
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], naming the parameter and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        const MOST: usize = 1 << 20;
        let invalid = |name: &'static str, message: &'static str| {
            Err(Error::new(ErrorKind::InvalidConfig, message).with_context("parameter", name))
        };
        if !(1..=MOST).contains(&self.max_in_flight) {
            return invalid("max_in_flight", "must be between 1 and 1048576");
        }
        if self.max_envelope_bytes == 0 {
            return invalid("max_envelope_bytes", "must be at least 1");
        }
        if u32::try_from(self.max_in_flight_bytes).is_err() {
            return invalid("max_in_flight_bytes", "must be less than 4 GiB");
        }
        if self.max_in_flight_bytes < self.max_envelope_bytes {
            return invalid("max_in_flight_bytes", "must be at least `max_envelope_bytes`");
        }
        if self.ack_batch_size == 0 {
            return invalid("ack_batch_size", "must be at least 1");
        }
        if self.ack_timeout.is_zero() {
            return invalid("ack_timeout", "must be more than zero");
        }
        for (name, value) in [
            ("ack_timeout", self.ack_timeout),
            ("close_timeout", self.close_timeout),
            ("retry_max_elapsed", self.retry_max_elapsed),
            ("retry_max_backoff", self.retry_max_backoff),
        ] {
            if value > LONGEST {
                return invalid(name, "must be at most 365 days");
            }
        }
        if self.retry_backoff.is_zero() || self.retry_backoff > self.retry_max_backoff {
            return invalid("retry_backoff", "must be more than zero, at most `retry_max_backoff`");
        }
        Ok(())
    }
}

impl Default for BusConfig {
    fn default() -> Self {
        let retry = RetryPolicy::none();
        Self {
            max_in_flight: 4096,
            max_in_flight_bytes: 64 << 20,
            max_envelope_bytes: (1 << 20) - (16 << 10),
            ack_timeout: Duration::from_secs(5),
            ack_batch_size: 256,
            close_timeout: Duration::from_secs(10),
            provision: Provision::Create,
            retry_max_elapsed: retry.max_elapsed,
            retry_backoff: retry.backoff,
            retry_max_backoff: retry.max_backoff,
            raw: RawTopics::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_fields() {
        let json = serde_json::to_value(BusConfig::default()).unwrap();
        let mut fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        let mut parameters: Vec<_> =
            BusConfig::PARAMETERS.iter().map(|p| (*p).to_owned()).collect();
        fields.sort();
        parameters.sort();
        assert_eq!(fields, parameters);
    }

    #[test]
    fn json_round_trip() {
        let config = BusConfig { ack_timeout: Duration::from_millis(1500), ..BusConfig::default() };
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains("\"1s 500ms\""), "{json}");
        assert_eq!(serde_json::from_str::<BusConfig>(&json).unwrap(), config);
    }

    #[test]
    fn contradictions_are_named() {
        let config = BusConfig { max_in_flight_bytes: 10, ..BusConfig::default() };
        let error = config.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("max_in_flight_bytes"), "{error}");
    }
}
