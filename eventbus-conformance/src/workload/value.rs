//! What writers publish: values that say who wrote them, and as which.

use std::{fmt, str::FromStr};

use eventbus_core::Envelope;

/// The writer of marks, which end a topic and are no values of the workload.
const MARKS: u32 = u32::MAX;

/// One value of a workload. Each writer counts for itself, over all its keys, so the counters of
/// one writer ascend within each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Value {
    /// The ordering key.
    pub key: u32,
    /// Who wrote it.
    pub writer: u32,
    /// As the how manieth of this writer, from 0.
    pub counter: u64,
}

impl Value {
    /// A value.
    #[must_use]
    pub const fn new(key: u32, writer: u32, counter: u64) -> Self {
        Self { key, writer, counter }
    }

    pub(super) const fn mark(key: u32) -> Self {
        Self::new(key, MARKS, 0)
    }

    pub(super) const fn is_mark(self) -> bool {
        self.writer == MARKS
    }

    /// The value as an envelope whose payload has at least `size` bytes.
    #[must_use]
    pub fn to_envelope(self, size: usize) -> Envelope {
        let text = format!("{self:size$}");
        Envelope::new("workload.value", text).key(format!("key-{}", self.key))
    }

    /// The value that an envelope carries; `None` when it carries none.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Option<Self> {
        str::from_utf8(envelope.payload()).ok()?.trim_end().parse().ok()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.key, self.writer, self.counter))
    }
}

/// A text that is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoValue;

impl fmt::Display for NoValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value reads `key/writer/counter`, three numbers")
    }
}

impl std::error::Error for NoValue {}

impl FromStr for Value {
    type Err = NoValue;

    fn from_str(text: &str) -> Result<Self, NoValue> {
        let mut parts = text.split('/');
        let (Some(key), Some(writer), Some(counter), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoValue);
        };
        Ok(Self {
            key: key.parse().map_err(|_| NoValue)?,
            writer: writer.parse().map_err(|_| NoValue)?,
            counter: counter.parse().map_err(|_| NoValue)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_carry_values_whatever_their_size() {
        for size in [0, 1, 100] {
            let value = Value::new(3, 1, u64::MAX);
            let envelope = value.to_envelope(size);
            assert!(envelope.payload().len() >= size);
            assert_eq!(envelope.aggregate_id(), Some("key-3"));
            assert_eq!(Value::of(&envelope), Some(value));
        }
    }

    #[test]
    fn other_payloads_carry_none() {
        for payload in ["", "1/2", "1/2/3/4", "a/b/c", "1/2/-3"] {
            assert_eq!(Value::of(&Envelope::new("x", payload)), None, "{payload}");
        }
    }
}
