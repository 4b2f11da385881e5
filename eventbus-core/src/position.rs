//! Where in a topic a message is.

use std::{fmt, str::FromStr};

use smol_str::SmolStr;

use crate::{Error, ErrorKind, Topic};

/// The place of a message: backend, topic, partition and offset. Opaque to applications,
/// which keep it as text and hand it back as [`Start::Positions`](crate::Start::Positions).
///
/// Positions of one topic partition are ordered as its messages are.
///
/// ```
/// use eventbus_core::Position;
/// let position: Position = "memory:orders.created:0:41".parse()?;
/// assert_eq!(position.to_string(), "memory:orders.created:0:41");
/// # Ok::<(), eventbus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    backend: SmolStr,
    topic: Topic,
    partition: u32,
    offset: u64,
}

impl Position {
    /// A position as a backend gives it; `backend` is its URL scheme.
    #[must_use]
    pub const fn new(backend: &'static str, topic: Topic, partition: u32, offset: u64) -> Self {
        Self { backend: SmolStr::new_static(backend), topic, partition, offset }
    }

    /// The URL scheme of the backend that gave it.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The partition; 0 where the backend has none.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset (Kafka, memory) or stream sequence (NATS).
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.backend, self.topic, self.partition, self.offset)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({self})")
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::new(
                ErrorKind::InvalidConfig,
                "a position reads `backend:topic:partition:offset`; use one that a delivery or \
                 receipt gave, unchanged",
            )
            .with_context("position", format!("{text:?}"))
        };
        let mut parts = text.split(':');
        let (Some(backend), Some(topic), Some(partition), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        if backend.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            backend: SmolStr::new(backend),
            topic: topic.parse().map_err(|_| invalid())?,
            partition: partition.parse().map_err(|_| invalid())?,
            offset: offset.parse().map_err(|_| invalid())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let position = Position::new("kafka", Topic::from_static("a.b"), 3, u64::MAX);
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
    }

    #[test]
    fn bad_positions_are_refused() {
        for text in ["", "a", "a:b:c:d", "a:b:0:0:0", ":b:0:0", "a:b:-1:0", "a:b c:0:0"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
