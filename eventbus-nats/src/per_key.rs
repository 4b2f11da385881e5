//! The gate of `Ordering::PerKey`: one message of a key at a time.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use eventbus_core::Topic;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Which keys are out, and which messages wait behind each.
#[derive(Default)]
pub(crate) struct Gate {
    busy: HashMap<u64, VecDeque<u64>>,
}

impl Gate {
    /// Names a key; a collision merely makes two keys wait for each other.
    pub(crate) fn key(topic: &Topic, key: &str) -> u64 {
        HASHER.hash_one((topic, key))
    }

    /// Whether the message may go on; otherwise it waits.
    pub(crate) fn enter(&mut self, key: u64, message: u64) -> bool {
        match self.busy.get_mut(&key) {
            Some(waiting) => {
                waiting.push_back(message);
                false
            }
            None => {
                self.busy.insert(key, VecDeque::new());
                true
            }
        }
    }

    /// The message of a key that was out is done with: gives the one that may go on.
    pub(crate) fn leave(&mut self, key: u64) -> Option<u64> {
        let waiting = self.busy.get_mut(&key)?;
        let next = waiting.pop_front();
        if next.is_none() {
            self.busy.remove(&key);
        }
        next
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_one_by_one() {
        let mut gate = Gate::default();
        let topic = Topic::from_static("a");
        let (a, b) = (Gate::key(&topic, "a"), Gate::key(&topic, "b"));
        assert!(gate.enter(a, 1));
        assert!(!gate.enter(a, 2));
        assert!(gate.enter(b, 3));
        assert_eq!(gate.leave(b), None);
        assert_eq!(gate.leave(a), Some(2));
        assert!(!gate.enter(a, 4));
        assert_eq!(gate.leave(a), Some(4));
        assert_eq!(gate.leave(a), None);
        assert!(gate.enter(a, 5));
    }
}
