//! What a backend can do.

use serde::Serialize;

/// What a backend promises, as one flat value. A call that needs a capability which is off
/// fails with [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before any I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Capabilities {
    /// Stored messages survive a restart of the process and of the broker.
    pub durable: bool,
    /// The order of a key holds even across a lost connection.
    pub ordered_across_reconnect: bool,
    /// [`PublishOptions::idempotent`](crate::PublishOptions::idempotent): the same id
    /// published again within the duplicate window is stored once.
    pub idempotent_publish: bool,
    /// [`PublishOptions::atomic`](crate::PublishOptions::atomic): a batch is stored whole
    /// or not at all, its envelopes one behind the other.
    pub atomic_batch: bool,
    /// The transport retries by itself, in order; the engine never sends an entry twice.
    pub native_retry: bool,
    /// [`Ordering::PerKey`](crate::Ordering::PerKey) holds across all members of a group,
    /// not only within each subscription.
    pub per_key_across_group: bool,
    /// [`SubscribeOptions::cumulative`](crate::SubscribeOptions::cumulative): an
    /// acknowledgement covers all deliveries before it.
    pub cumulative_ack: bool,
    /// Subscribing to an existing group with other options is refused.
    pub group_options_checked: bool,
    /// [`Start::Time`](crate::Start::Time).
    pub start_at_time: bool,
    /// The members of a group share the messages of a topic one by one, so that what one
    /// gives back reaches another at once; off where they share whole partitions.
    pub shared_messages: bool,
    /// The most envelopes of an atomic batch; 0 without the capability.
    pub max_atomic_batch: usize,
    /// The largest message that the broker takes, in bytes.
    pub max_message_bytes: usize,
}

impl Capabilities {
    /// Nothing but the basics, with the broker's limit for one message in bytes.
    #[must_use]
    pub const fn new(max_message_bytes: usize) -> Self {
        Self {
            durable: false,
            ordered_across_reconnect: false,
            idempotent_publish: false,
            atomic_batch: false,
            native_retry: false,
            per_key_across_group: false,
            cumulative_ack: false,
            group_options_checked: false,
            start_at_time: false,
            shared_messages: false,
            max_atomic_batch: 0,
            max_message_bytes,
        }
    }
}
