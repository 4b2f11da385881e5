//! Keys, hashed: nothing is kept of them but that.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// A key, hashed; a collision merely makes two keys wait for each other. 0 is no key.
pub(crate) type Key = u64;

/// The multiply-rotate hash of Firefox, seeded: every keyed message pays for it.
pub(crate) fn hash_key(key: Option<&str>) -> Key {
    static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    let Some(key) = key else { return 0 };
    let mix =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = key.as_bytes().as_chunks();
    let hash = words.iter().fold(*SEED, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().fold(1, |last, byte| last << 8 | u64::from(*byte));
    mix(hash, last).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_lengths_differ() {
        let keys: std::collections::HashSet<_> =
            (0..64).map(|len| hash_key(Some(&"k".repeat(len)))).collect();
        assert_eq!(keys.len(), 64);
        assert_eq!(hash_key(None), 0);
        assert_eq!(hash_key(Some("order-1")), hash_key(Some("order-1")));
        assert_ne!(hash_key(Some("order-1")), hash_key(Some("order-2")));
    }
}
