//! Checking order.

use std::collections::HashMap;

use eventbus_core::Envelope;

use super::{key_of, number};

/// Each number is greater than the one before.
#[track_caller]
pub(crate) fn assert_ascending(numbers: &[u64]) {
    let inversion = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
    assert!(inversion.is_none(), "out of order: {inversion:?} in {numbers:?}");
}

/// Within each key, each number is greater than the one before.
#[track_caller]
pub(crate) fn assert_each_key_ascending(envelopes: &[Envelope]) {
    let mut by_key: HashMap<String, Vec<u64>> = HashMap::new();
    for envelope in envelopes {
        by_key.entry(key_of(envelope)).or_default().push(number(envelope));
    }
    for (key, numbers) in by_key {
        let inversion = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
        assert!(inversion.is_none(), "key {key} is out of order: {inversion:?} in {numbers:?}");
    }
}
