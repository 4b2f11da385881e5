//! What load to put on a bus.

use std::{fmt, str::FromStr};

use eventbus_core::{Error, ErrorKind, Topic, TopicFilter};
use serde::{Deserialize, Serialize};

use crate::stamp::STAMP_BYTES;

/// What the load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Publishes without waiting for verdicts, as fast as the window allows.
    Async,
    /// Publishes batches, one after the other per publisher.
    Batch,
    /// Publishes one envelope at a time per publisher, each acknowledged before the next.
    Sync,
    /// Consumes what was published before, acknowledging each delivery.
    Consume,
}

impl Mode {
    /// The modes, in the order in which they are best explained.
    pub const ALL: [Self; 4] = [Self::Async, Self::Batch, Self::Sync, Self::Consume];

    /// The name, as written on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Batch => "batch",
            Self::Sync => "sync",
            Self::Consume => "consume",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|mode| mode.as_str() == name);
        known.ok_or_else(|| {
            invalid("the mode is one of async, batch, sync, consume").with_context("mode", name)
        })
    }
}

/// What load to put on a bus. [`Load::new`] gives one publisher and 64 keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Load {
    /// What the load does.
    pub mode: Mode,
    /// How many messages.
    pub messages: u64,
    /// The payload of each in bytes; from 32 on it can hold what order is checked by.
    pub size: usize,
    /// How many keys the messages are spread over; 0 for messages without a key.
    pub keys: u32,
    /// How many topics the messages are spread over. Each key is of one of them.
    #[serde(default = "one")]
    pub topics: u32,
    /// How many tasks publish at the same time.
    pub publishers: u32,
    /// How many subscriptions each get all messages in mode `consume`.
    #[serde(default = "one")]
    pub subscriptions: u32,
    /// How many envelopes a batch has in mode `batch`.
    pub batch_size: usize,
    /// How many unsettled deliveries the consumer may have.
    pub consumer_window: usize,
    /// Whether a consumer runs while publishing, for the end-to-end latency.
    pub end_to_end: bool,
    /// Whether the order is checked.
    pub verify: bool,
    /// The topic, or what several topics begin with; without one, a new name for each run.
    #[serde(skip)]
    pub topic: Option<Topic>,
}

impl Load {
    /// `messages` messages with payloads of `size` bytes.
    #[must_use]
    pub fn new(mode: Mode, messages: u64, size: usize) -> Self {
        Self {
            mode,
            messages,
            size,
            keys: 64,
            topics: 1,
            publishers: 1,
            subscriptions: 1,
            batch_size: 500,
            consumer_window: 4096,
            end_to_end: false,
            verify: true,
            topic: None,
        }
    }

    /// Sets [`keys`](Self::keys).
    #[must_use]
    pub fn keys(mut self, keys: u32) -> Self {
        self.keys = keys;
        self
    }

    /// Sets [`topics`](Self::topics).
    #[must_use]
    pub fn topics(mut self, topics: u32) -> Self {
        self.topics = topics;
        self
    }

    /// Sets [`subscriptions`](Self::subscriptions).
    #[must_use]
    pub fn subscriptions(mut self, subscriptions: u32) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// Sets [`publishers`](Self::publishers).
    #[must_use]
    pub fn publishers(mut self, publishers: u32) -> Self {
        self.publishers = publishers;
        self
    }

    /// Sets [`batch_size`](Self::batch_size).
    #[must_use]
    pub fn batch_size(mut self, envelopes: usize) -> Self {
        self.batch_size = envelopes;
        self
    }

    /// Sets [`consumer_window`](Self::consumer_window).
    #[must_use]
    pub fn consumer_window(mut self, deliveries: usize) -> Self {
        self.consumer_window = deliveries;
        self
    }

    /// Sets [`end_to_end`](Self::end_to_end).
    #[must_use]
    pub fn end_to_end(mut self, on: bool) -> Self {
        self.end_to_end = on;
        self
    }

    /// Sets [`verify`](Self::verify).
    #[must_use]
    pub fn verify(mut self, on: bool) -> Self {
        self.verify = on;
        self
    }

    /// Sets [`topic`](Self::topic). What other runs left there does not matter.
    #[must_use]
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// About how many bytes the messages take in a topic, for the retention that consuming
    /// them needs.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        // The metadata of an envelope and the bookkeeping of a broker, generously.
        const OVERHEAD: u64 = 256;
        self.messages.saturating_mul(self.size as u64 + OVERHEAD)
    }

    /// Whether payloads carry a stamp, which order and end-to-end latency are measured by.
    #[must_use]
    pub fn is_stamped(&self) -> bool {
        self.size >= STAMP_BYTES
    }

    pub(crate) fn checks_order(&self) -> bool {
        self.verify && self.keys > 0 && self.is_stamped()
    }

    /// The topics, if `topic` is the one, or what several begin with.
    pub(crate) fn all_topics(&self, topic: &Topic) -> Result<Vec<Topic>, Error> {
        match self.topics {
            1 => Ok(vec![topic.clone()]),
            topics => (0..topics).map(|number| format!("{topic}.{number}").parse()).collect(),
        }
    }

    /// What selects them.
    pub(crate) fn filter(&self, topic: &Topic) -> Result<TopicFilter, Error> {
        match self.topics {
            1 => Ok(topic.filter()),
            _ => format!("{topic}.*").parse(),
        }
    }

    fn validate_spread(&self) -> Result<(), Error> {
        const MOST_TOPICS: u32 = 10_000;
        const MOST_SUBSCRIPTIONS: u32 = 1024;
        if !(1..=MOST_TOPICS).contains(&self.topics) {
            return Err(invalid("`topics` must be between 1 and 10000"));
        }
        if self.keys > 0 && self.topics > self.keys {
            return Err(invalid(
                "there must be at least as many `keys` as `topics`, because each key is of one \
                 topic; or none",
            ));
        }
        if self.topics > 1 && self.mode == Mode::Batch {
            return Err(invalid("a batch goes to one topic: leave out `topics`"));
        }
        if !(1..=MOST_SUBSCRIPTIONS).contains(&self.subscriptions) {
            return Err(invalid("`subscriptions` must be between 1 and 1024"));
        }
        if self.subscriptions > 1 && self.mode != Mode::Consume {
            return Err(invalid("only the mode `consume` has several `subscriptions`"));
        }
        Ok(())
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.validate_spread()?;
        const MOST_PUBLISHERS: u32 = 1024;
        const MOST_LANES: u64 = 1 << 24;
        const MOST_MESSAGES: u64 = 1 << 32;
        if !(1..=MOST_MESSAGES).contains(&self.messages) {
            return Err(invalid("`messages` must be between 1 and 4294967296"));
        }
        if !(1..=MOST_PUBLISHERS).contains(&self.publishers) {
            return Err(invalid("`publishers` must be between 1 and 1024"));
        }
        if u64::from(self.keys) * u64::from(self.publishers) > MOST_LANES {
            return Err(invalid("`keys` times `publishers` must be at most 16777216"));
        }
        if self.batch_size == 0 {
            return Err(invalid("`batch_size` must be at least 1"));
        }
        if !self.is_stamped() && (self.end_to_end || self.mode == Mode::Consume) {
            return Err(invalid(
                "`size` must be at least 32 bytes, because the consumer recognises its messages \
                 by what is in the payload",
            ));
        }
        Ok(())
    }
}

/// What loads that were written down before had.
const fn one() -> u32 {
    1
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).with_operation("bench")
}
