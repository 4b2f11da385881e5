//! A message of a subscription, and what its settlement comes to.

use bytes::Bytes;
use eventbus_core::backend::RawMessage;

use super::PartitionId;

/// A fetched message that is not settled.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) partition: PartitionId,
    pub(crate) offset: i64,
    /// A hash of topic and key; `None` without a key or where keys have no order.
    pub(crate) key: Option<u64>,
    pub(crate) bytes: Bytes,
    /// The message of a raw topic.
    pub(crate) raw: Option<Box<RawMessage>>,
    /// When the broker stored it, in milliseconds since the epoch.
    pub(crate) published_at: i64,
    pub(crate) attempt: u32,
    pub(crate) expired_before: bool,
}

/// What a settlement came to.
pub(crate) enum Settled {
    /// It is done.
    Done,
    /// It is done here; the broker is to confirm it.
    Confirming(PartitionId, i64),
    /// Another attempt has it, or nobody.
    Expired,
}
