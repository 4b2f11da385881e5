//! What the consumer has seen: duplicates, order, completeness.

use crate::{Load, stamp};

/// Which messages were seen, and whether each lane kept its order.
#[derive(Debug)]
pub(crate) struct Seen {
    /// One bit per sequence number.
    bits: Vec<u64>,
    /// The highest sequence number of each lane, plus one.
    highest: Vec<u64>,
    /// The last sequence number of each lane.
    last: Vec<Option<u64>>,
    lanes_left: usize,
    distinct: u64,
    violations: u64,
}

impl Seen {
    pub(crate) fn nothing(load: &Load) -> Self {
        let last = stamp::last_of_lanes(load);
        let words = usize::try_from(load.messages.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            bits: vec![0; words],
            highest: vec![0; last.len()],
            lanes_left: last.iter().flatten().count(),
            last,
            distinct: 0,
            violations: 0,
        }
    }

    /// Notes a delivery; tells whether it was the first of this message. A redelivery is no
    /// violation: that it comes later is its nature.
    pub(crate) fn note(&mut self, sequence: u64, lane: u64) -> bool {
        let (word, bit) = ((sequence / 64) as usize, 1_u64 << (sequence % 64));
        let lane = lane as usize;
        let Some(bits) = self.bits.get_mut(word) else {
            return false;
        };
        if *bits & bit != 0 || lane >= self.highest.len() {
            return false;
        }
        *bits |= bit;
        self.distinct += 1;
        if sequence < self.highest[lane] {
            self.violations += 1;
        } else {
            self.highest[lane] = sequence + 1;
        }
        if self.last[lane] == Some(sequence) {
            self.lanes_left -= 1;
        }
        true
    }

    /// How many messages were seen, each counted once.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct
    }

    /// How many came, for the first time, after a later one of their lane.
    pub(crate) fn violations(&self) -> u64 {
        self.violations
    }

    /// Whether the last message of every lane was seen: no more will come.
    pub(crate) fn has_all_ends(&self) -> bool {
        self.lanes_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn inversions_are_violations_and_duplicates_are_not() {
        let load = Load::new(Mode::Async, 8, 64).keys(2);
        let mut seen = Seen::nothing(&load);
        for (sequence, fresh) in [(0, true), (2, true), (0, false), (6, true), (4, true)] {
            assert_eq!(seen.note(sequence, 0), fresh);
        }
        assert_eq!((seen.distinct(), seen.violations()), (4, 1));
        assert!(!seen.has_all_ends());
        assert!(seen.note(7, 1), "a gap is no violation");
        assert_eq!((seen.distinct(), seen.violations()), (5, 1));
        assert!(seen.has_all_ends());
    }

    #[test]
    fn strange_numbers_are_ignored() {
        let mut seen = Seen::nothing(&Load::new(Mode::Async, 8, 64).keys(2));
        assert!(!seen.note(u64::MAX, 0));
        assert!(!seen.note(0, u64::MAX));
        assert_eq!(seen.distinct(), 0);
    }
}
