//! Whether to publish through batches.

use serde::{Deserialize, Serialize};

/// When messages are published through batches, which nats-server takes from 2.14 on
/// ("fast ingest"): acknowledged every so many messages instead of one by one.
///
/// A stream takes them if its `allow_batched` is set, as it is in streams that the bus creates
/// with such a server. A receipt of a message in the middle of a batch has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FastIngest {
    /// For what piles up, where the server and the stream take it. What somebody waits for
    /// (`publish_sync`, receipts), what is idempotent, and single messages go without.
    #[default]
    Auto,
    /// Never.
    Off,
    /// For everything. A server or stream that does not take batches is an error. The order of
    /// a key is kept across a lost connection: capability `ordered_across_reconnect`. A message
    /// that somebody waits for ends its batch, and the next one begins when that is
    /// answered.
    Always,
}
