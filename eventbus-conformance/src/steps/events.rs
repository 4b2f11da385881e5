//! Events that carry a number, which is what scenarios compare.

use eventbus_core::Envelope;

/// An event without a key.
pub(crate) fn event(number: u64) -> Envelope {
    Envelope::new("conformance.numbered", number.to_string())
}

/// An event with a key.
pub(crate) fn keyed(key: &str, number: u64) -> Envelope {
    event(number).key(key)
}

/// The number of an event; a payload of another origin is none.
pub(crate) fn number(envelope: &Envelope) -> u64 {
    let text = str::from_utf8(envelope.payload()).unwrap_or_default();
    text.parse().unwrap_or(u64::MAX)
}

pub(crate) fn numbers(envelopes: &[Envelope]) -> Vec<u64> {
    envelopes.iter().map(number).collect()
}

/// The key, empty when there is none.
pub(crate) fn key_of(envelope: &Envelope) -> String {
    envelope.aggregate_id().unwrap_or_default().to_owned()
}
