//! The ids of idempotent publishes, remembered for a while.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// How many ids a topic remembers at most; beyond that the oldest go before their time.
pub(crate) const MOST_IDS: usize = 1 << 17;

#[derive(Debug)]
pub(crate) struct Duplicates {
    window: Duration,
    offsets: HashMap<u128, u64>,
    by_age: VecDeque<(Instant, u128)>,
}

impl Duplicates {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, offsets: HashMap::new(), by_age: VecDeque::new() }
    }

    /// The offset under which `id` was stored, or `None`: then it is remembered as `offset`.
    pub(crate) fn check(&mut self, id: u128, offset: u64, now: Instant) -> Option<u64> {
        while let Some((stored, oldest)) = self.by_age.front() {
            let old = now.saturating_duration_since(*stored) > self.window;
            if !old && self.by_age.len() < MOST_IDS {
                break;
            }
            self.offsets.remove(oldest);
            self.by_age.pop_front();
        }
        if let Some(stored) = self.offsets.get(&id) {
            return Some(*stored);
        }
        self.offsets.insert(id, offset);
        self.by_age.push_back((now, id));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_for_the_window_and_in_bounded_memory() {
        let window = Duration::from_secs(10);
        let mut seen = Duplicates::new(window);
        let start = Instant::now();
        assert_eq!(seen.check(1, 100, start), None);
        assert_eq!(seen.check(1, 101, start + window), Some(100));
        assert_eq!(seen.check(1, 102, start + window + Duration::from_nanos(1)), None);
        let later = start + window * 3;
        for id in 0..2 * MOST_IDS as u128 {
            assert_eq!(seen.check(id, 0, later), None);
        }
        assert_eq!(seen.offsets.len(), MOST_IDS);
        assert_eq!(seen.by_age.len(), MOST_IDS);
        assert!(seen.offsets.capacity() < 4 * MOST_IDS);
    }
}
