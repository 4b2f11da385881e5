//! What happened, as the writers and the readers saw it.

use std::collections::BTreeMap;

use eventbus_core::{Position, Topic};

use super::Value;

/// What writers and readers saw in one run of a workload. [`check`](super::check) judges it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct History {
    /// What was published, for each writer in the order in which it did so.
    pub attempts: Vec<Attempt>,
    /// What the failure handler got, call by call.
    pub handled: Vec<Value>,
    /// The counters of the publishing bus after its close.
    pub counts: Counts,
    /// The topic of the workload; `None` where all positions are in it.
    pub topic: Option<Topic>,
    /// All that the topic holds, read from its start after the run. `None` stands for a message
    /// that is no value of the workload.
    pub stored: Vec<(Option<Value>, Position)>,
    /// What the members of the group saw and did, in the order in which it happened.
    pub events: Vec<Event>,
    /// How many attempts the group gives a value.
    pub max_attempts: Option<u32>,
    /// Whether the group delivers the values of a key in their order.
    pub per_key: bool,
    /// All that the dead-letter topic holds.
    pub letters: Vec<Letter>,
    /// Why subscriptions ended that nobody had stopped.
    pub ended: Vec<String>,
    /// What may explain the rest, in words.
    pub notes: Vec<String>,
    /// Why publishes failed, and how many of them: for the reader of a report.
    pub errors: BTreeMap<String, u64>,
}

/// One publish and its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// What was published.
    pub value: Value,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the publisher was told, so that the failure handler must not be.
    pub told: bool,
    /// The first value of the atomic batch that it is part of.
    pub batch: Option<Value>,
}

impl Attempt {
    /// A publish and its verdict, which nobody waited for.
    #[must_use]
    pub const fn new(value: Value, outcome: Outcome) -> Self {
        Self { value, outcome, told: false, batch: None }
    }

    /// The publisher was told the verdict.
    #[must_use]
    pub const fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// It is part of the atomic batch that begins with this value.
    #[must_use]
    pub const fn in_batch(mut self, first: Value) -> Self {
        self.batch = Some(first);
        self
    }
}

/// The verdict on one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The broker acknowledged it.
    Acknowledged,
    /// It was refused or failed, and certainly was not stored.
    Failed,
    /// It was reported as ambiguous.
    Unknown,
}

/// What a publishing bus counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// `Stats::published`.
    pub published: u64,
    /// `Stats::refused`.
    pub refused: u64,
    /// `Stats::acknowledged`.
    pub acknowledged: u64,
    /// `Stats::failed`.
    pub failed: u64,
    /// `Stats::handled_failures`.
    pub handled: u64,
}

impl From<eventbus_core::Stats> for Counts {
    fn from(stats: eventbus_core::Stats) -> Self {
        Self {
            published: stats.published,
            refused: stats.refused,
            acknowledged: stats.acknowledged,
            failed: stats.failed,
            handled: stats.handled_failures,
        }
    }
}

/// Something that a member of the group saw or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It got a delivery.
    Delivered {
        /// What; `None` when it is no value of the workload.
        value: Option<Value>,
        /// Where it is stored.
        position: Position,
        /// As which attempt.
        attempt: u32,
    },
    /// It settled the delivery from this position, without an error.
    Settled {
        /// Where the delivery is stored.
        position: Position,
        /// How it was settled.
        how: Settled,
    },
}

/// How a delivery was settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// By `ack`, which may get lost on its way.
    Sent,
    /// By `ack_confirmed`.
    Confirmed,
    /// By `nack`, so that it comes again.
    Nacked,
    /// By the `nack` of its last attempt, which makes it a dead letter.
    Exhausted,
}

impl Settled {
    /// Whether the group is done with the message.
    #[must_use]
    pub const fn for_good(self) -> bool {
        !matches!(self, Self::Nacked)
    }
}

/// A message on the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Letter {
    /// What it is; `None` when it is no value of the workload.
    pub value: Option<Value>,
    /// How many attempts it says that there were.
    pub attempts: u32,
}

impl Letter {
    /// A message on the dead-letter topic.
    #[must_use]
    pub const fn new(value: Option<Value>, attempts: u32) -> Self {
        Self { value, attempts }
    }
}
