//! What one publish or one subscription may ask for.

use std::time::{Duration, SystemTime};

use crate::{Position, RetryPolicy, Topic};

/// What one publish asks for beyond the configuration of the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// Store the id once, even when it is published again within the broker's duplicate
    /// window. Needs the capability `idempotent_publish`.
    pub idempotent: bool,
    /// Store a batch whole or not at all, with nothing in between: either all its envelopes are
    /// acknowledged, or all fail with the same error. It needs room in the window for all of
    /// them at once, is never retried by the bus, and goes neither with
    /// [`idempotent`](Self::idempotent) nor with [`retry`](Self::retry). Needs the capability
    /// `atomic_batch`, which also has a limit, `max_atomic_batch`.
    pub atomic: bool,
    /// Another retry policy than the one of the bus. Not where the backend retries by itself
    /// (capability `native_retry`).
    pub retry: Option<RetryPolicy>,
}

impl PublishOptions {
    /// The configuration of the bus, nothing else.
    #[must_use]
    pub const fn new() -> Self {
        Self { idempotent: false, atomic: false, retry: None }
    }

    /// Sets [`idempotent`](Self::idempotent).
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets [`atomic`](Self::atomic).
    #[must_use]
    pub fn atomic(mut self) -> Self {
        self.atomic = true;
        self
    }

    /// Sets [`retry`](Self::retry).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }
}

/// Where a subscription starts. It counts only where the group has no position yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the oldest message that is retained; the default of groups.
    Earliest,
    /// With what is published after `subscribe` returned; the default without a group.
    Latest,
    /// With these messages, each included. Partitions that are not named start at the
    /// earliest; a position of another backend is refused.
    Positions(Vec<Position>),
    /// With the first message that the broker stored at this time or later.
    Time(SystemTime),
}

/// In which order deliveries are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Ordering {
    /// As they come: a message that waits for its redelivery does not hold up others.
    #[default]
    Unordered,
    /// A key's deliveries one at a time and in order, across nack and redelivery. Other
    /// keys go on. Envelopes without a key are not ordered.
    PerKey,
}

/// What happens to messages that are no envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndecodablePolicy {
    /// They move to the dead-letter topic; the default when one is set.
    DeadLetter,
    /// They are yielded as [`ReceiveError::Undecodable`](crate::ReceiveError::Undecodable);
    /// the default without a dead-letter topic.
    Yield,
}

/// How to subscribe. Without a group the subscription gets its own copy of everything and
/// leaves no position behind.
///
/// ```
/// use std::time::Duration;
/// use eventbus_core::{Ordering, SubscribeOptions, Topic};
/// const DEAD: Topic = Topic::from_static("dead.billing");
/// let options = SubscribeOptions::group("billing")
///     .max_attempts(5)
///     .dead_letter(DEAD)
///     .ordering(Ordering::PerKey)
///     .ack_wait(Duration::from_secs(60));
/// assert_eq!(options.max_attempts, Some(5));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The group whose members share the messages and whose position is kept. A group is
    /// identified by this name together with the filter.
    pub group: Option<String>,
    /// Whether `group` is the exact native name (NATS durable, Kafka `group.id`) rather
    /// than one part of it.
    pub native_group: bool,
    /// Where to start when there is no position; see [`Start`].
    pub start: Option<Start>,
    /// How many unsettled messages this subscription may have, those held by the
    /// application included; 1024 by default. At the limit it pauses.
    pub max_in_flight: usize,
    /// How long a delivery may stay unsettled before it is delivered again; 30 s by default.
    pub ack_wait: Duration,
    /// How many attempts a message gets before it moves to the dead-letter topic (or, without
    /// one, is dropped with an ERROR event); unlimited by default.
    pub max_attempts: Option<u32>,
    /// Where exhausted and rejected messages go.
    pub dead_letter: Option<Topic>,
    /// What happens to messages that are no envelopes; see [`UndecodablePolicy`].
    pub undecodable: Option<UndecodablePolicy>,
    /// In which order deliveries are handed out.
    pub ordering: Ordering,
    /// An acknowledgement covers all deliveries before it: one subscriber, no `PerKey`.
    /// Needs the capability `cumulative_ack`.
    pub cumulative: bool,
}

impl SubscribeOptions {
    /// A subscription of its own, without a group.
    #[must_use]
    pub fn new() -> Self {
        Self {
            group: None,
            native_group: false,
            start: None,
            max_in_flight: 1024,
            ack_wait: Duration::from_secs(30),
            max_attempts: None,
            dead_letter: None,
            undecodable: None,
            ordering: Ordering::Unordered,
            cumulative: false,
        }
    }

    /// A member of the group `name`: 1 to 100 characters of `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn group(name: impl Into<String>) -> Self {
        Self { group: Some(name.into()), ..Self::new() }
    }

    /// A member of the group whose exact native name is `name`, to join what other programs use.
    #[must_use]
    pub fn native_group(name: impl Into<String>) -> Self {
        Self { native_group: true, ..Self::group(name) }
    }

    /// Sets [`start`](Self::start).
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// Sets [`max_in_flight`](Self::max_in_flight).
    #[must_use]
    pub fn max_in_flight(mut self, messages: usize) -> Self {
        self.max_in_flight = messages;
        self
    }

    /// Sets [`ack_wait`](Self::ack_wait).
    #[must_use]
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// Sets [`max_attempts`](Self::max_attempts).
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets [`dead_letter`](Self::dead_letter).
    #[must_use]
    pub fn dead_letter(mut self, topic: Topic) -> Self {
        self.dead_letter = Some(topic);
        self
    }

    /// Sets [`undecodable`](Self::undecodable).
    #[must_use]
    pub fn undecodable(mut self, policy: UndecodablePolicy) -> Self {
        self.undecodable = Some(policy);
        self
    }

    /// Sets [`ordering`](Self::ordering).
    #[must_use]
    pub fn ordering(mut self, ordering: Ordering) -> Self {
        self.ordering = ordering;
        self
    }

    /// Sets [`cumulative`](Self::cumulative).
    #[must_use]
    pub fn cumulative(mut self) -> Self {
        self.cumulative = true;
        self
    }

    /// The start in force: the one that was set, or the default for a group or for none.
    #[must_use]
    pub fn effective_start(&self) -> Start {
        match (&self.start, &self.group) {
            (Some(start), _) => start.clone(),
            (None, Some(_)) => Start::Earliest,
            (None, None) => Start::Latest,
        }
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self::new()
    }
}
