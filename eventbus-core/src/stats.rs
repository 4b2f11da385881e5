//! Counters of a bus.

use serde::Serialize;

/// What a bus has done since it was connected. The counters are read one after the other,
/// so under load they may differ by what happened in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Envelopes accepted.
    pub published: u64,
    /// Accepted envelopes that the broker acknowledged.
    pub acknowledged: u64,
    /// Accepted envelopes that were handed back with an error, the ambiguous ones included.
    pub failed: u64,
    /// Envelopes refused before they were accepted.
    pub refused: u64,
    /// Accepted envelopes without a verdict, or whose failure is being handled.
    pub in_flight: usize,
    /// The encoded bytes of those.
    pub in_flight_bytes: usize,
    /// The most envelopes that were ever in flight at once.
    pub peak_in_flight: usize,
    /// Times that an entry was sent again by the retry queue.
    pub retried: u64,
    /// Acknowledgements that came after `ack_timeout`, when the entry had been reported already.
    pub late_acks: u64,
    /// Calls of the failure handler.
    pub handled_failures: u64,
    /// Calls of the failure handler that panicked.
    pub handler_panics: u64,
    /// Deliveries handed out by all subscriptions.
    pub delivered: u64,
    /// Deliveries that were acknowledged or rejected.
    pub settled: u64,
    /// Messages moved to a dead-letter topic.
    pub dead_lettered: u64,
}
