//! Which messages of a partition are settled.

use std::collections::{BTreeMap, VecDeque};

use super::offsets::{Progress, Range, Text};

/// So many settled offsets may lie among the others before they are taken out.
const SLACK: usize = 256;

/// What is to be committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// All before this offset is settled.
    pub(crate) offset: i64,
    pub(crate) text: Text,
}

/// The offsets of one partition between what is committed and what was fetched. What is not
/// in `fetched` and lies before `next` is settled, or does not exist.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// Fetched offsets, ascending, and whether they are settled. The first is not.
    fetched: VecDeque<(i64, bool)>,
    unsettled: usize,
    /// What is fetched next; `None` until something was, when it started at the beginning.
    next: Option<i64>,
    /// Settled before a restart and not fetched yet.
    ahead: VecDeque<Range>,
    /// The next attempt of those that had one.
    attempts: BTreeMap<i64, u32>,
    /// Something changed since the last commit.
    pub(crate) dirty: bool,
}

impl Tracker {
    /// Starts at an offset, or at the beginning, with what was known before a restart.
    pub(crate) fn new(start: Option<i64>, progress: Progress) -> Self {
        Self {
            next: start,
            ahead: progress.settled.into(),
            attempts: progress.attempts.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What is fetched next, if it is known.
    pub(crate) fn next(&self) -> Option<i64> {
        self.next
    }

    /// Notes a fetched message and says which attempt its delivery is; `None` when it is
    /// settled already.
    pub(crate) fn fetch(&mut self, offset: i64) -> Option<u32> {
        if self.next.is_some_and(|next| offset < next) {
            return None;
        }
        self.next = Some(offset + 1);
        while self.ahead.front().is_some_and(|range| range.end <= offset) {
            self.ahead.pop_front();
        }
        if self.ahead.front().is_some_and(|range| range.contains(&offset)) {
            self.dirty = true;
            return None;
        }
        self.fetched.push_back((offset, false));
        self.unsettled += 1;
        Some(self.attempts.get(&offset).copied().unwrap_or(1))
    }

    /// Goes on at an offset: what lay between is gone. It lies before only when the topic is
    /// another one by now.
    pub(crate) fn restart_at(&mut self, offset: i64) {
        if self.next.is_some_and(|next| offset < next) {
            *self = Self::default();
        }
        self.next = Some(offset);
        self.ahead.retain(|range| range.end > offset);
        self.dirty = true;
    }

    /// Notes that the next delivery of a message is this attempt.
    pub(crate) fn attempt(&mut self, offset: i64, attempt: u32) {
        self.attempts.insert(offset, attempt);
        self.dirty = true;
    }

    pub(crate) fn settle(&mut self, offset: i64) {
        let found = match self.fetched.front() {
            Some((first, false)) if *first == offset => Ok(0),
            _ => self.fetched.binary_search_by_key(&offset, |(offset, _)| *offset),
        };
        let Ok(at) = found else { return };
        if std::mem::replace(&mut self.fetched[at].1, true) {
            return;
        }
        self.unsettled -= 1;
        self.dirty = true;
        if !self.attempts.is_empty() {
            self.attempts.remove(&offset);
        }
        if at == 0 {
            while self.fetched.front().is_some_and(|(_, settled)| *settled) {
                self.fetched.pop_front();
            }
        } else if self.fetched.len() > 2 * self.unsettled + SLACK {
            self.fetched.retain(|(_, settled)| !settled);
        }
    }

    /// What is to be committed, with the attempts that those in `held` will have had; `None`
    /// while the start is not known.
    pub(crate) fn commit(&mut self, held: &[(i64, u32)]) -> Option<Commit> {
        let next = self.next?;
        let offset = self.fetched.front().map_or_else(|| self.ahead_of(next), |(first, _)| *first);
        // What lies before is settled, or gone without that.
        self.attempts = self.attempts.split_off(&offset);
        let mut attempts = self.attempts.clone();
        attempts.extend(held.iter().copied());
        let attempts = attempts.into_iter().collect();
        let progress = Progress { settled: self.settled(offset, next), attempts };
        Some(Commit { offset, text: progress.encode(offset) })
    }

    /// Where the settled offsets end that begin at `next`, if there are some.
    fn ahead_of(&self, next: i64) -> i64 {
        let touching = self.ahead.front().filter(|range| range.start <= next);
        touching.map_or(next, |range| range.end.max(next))
    }

    fn settled(&self, committed: i64, next: i64) -> Vec<Range> {
        let mut ranges = Vec::new();
        let mut at = committed;
        let unsettled = self.fetched.iter().filter(|(_, settled)| !settled);
        for offset in unsettled.map(|(offset, _)| *offset).chain([next]) {
            if at < offset && at > committed {
                ranges.push(at..offset);
            }
            at = offset + 1;
        }
        for range in self.ahead.iter().filter(|range| range.end > committed) {
            let range = range.start.max(next)..range.end;
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(fetched: std::ops::Range<i64>) -> Tracker {
        let mut tracker = Tracker::new(Some(fetched.start), Progress::default());
        for offset in fetched {
            assert_eq!(tracker.fetch(offset), Some(1));
        }
        tracker
    }

    fn restart(tracker: &mut Tracker) -> (i64, Tracker) {
        let commit = tracker.commit(&[]).unwrap();
        let progress = Progress::decode(&commit.text.text, commit.offset).unwrap_or_default();
        (commit.offset, Tracker::new(Some(commit.offset), progress))
    }

    #[test]
    fn the_lowest_contiguous_offset_is_committed() {
        let mut tracker = tracker(10..15);
        assert_eq!(tracker.commit(&[]).unwrap().offset, 10);
        tracker.settle(11);
        assert_eq!(tracker.commit(&[]).unwrap().offset, 10);
        tracker.settle(10);
        assert_eq!(tracker.commit(&[]).unwrap().offset, 12);
        for offset in [14, 13, 12] {
            tracker.settle(offset);
        }
        let commit = tracker.commit(&[]).unwrap();
        assert_eq!((commit.offset, commit.text.text.as_str()), (15, ""));
    }

    #[test]
    fn settled_above_the_commit_and_attempts_survive_a_restart() {
        let mut tracker = tracker(0..10);
        for offset in [2, 3, 7, 9] {
            tracker.settle(offset);
        }
        tracker.attempt(1, 3);
        let (start, mut restarted) = restart(&mut tracker);
        assert_eq!(start, 0);
        // Committed again before anything was fetched, nothing is forgotten.
        let (_, again) = restart(&mut restarted);
        assert_eq!(again.ahead, restarted.ahead);
        let delivered: Vec<_> =
            (0..12).filter_map(|n| restarted.fetch(n).map(|attempt| (n, attempt))).collect();
        assert_eq!(delivered, [(0, 1), (1, 3), (4, 1), (5, 1), (6, 1), (8, 1), (10, 1), (11, 1)]);
    }

    #[test]
    fn a_restart_in_the_middle_keeps_what_is_ahead() {
        let mut tracker = tracker(0..10);
        for offset in [0, 4, 8, 9] {
            tracker.settle(offset);
        }
        let (start, mut restarted) = restart(&mut tracker);
        assert_eq!(start, 1);
        assert_eq!(restarted.fetch(1), Some(1));
        restarted.settle(1);
        let (start, restarted) = restart(&mut restarted);
        assert_eq!(start, 2);
        assert_eq!(restarted.ahead, [4..5, 8..10]);
    }

    #[test]
    fn what_is_ahead_is_committed_once_nothing_lies_before_it() {
        let mut tracker = tracker(10..1000);
        (11..1000).for_each(|offset| tracker.settle(offset));
        let (start, mut restarted) = restart(&mut tracker);
        assert_eq!((start, restarted.fetch(10)), (10, Some(1)));
        restarted.settle(10);
        let (start, mut restarted) = restart(&mut restarted);
        assert_eq!((start, restarted.ahead.len()), (1000, 0));
        assert_eq!(restarted.fetch(1000), Some(1));
    }

    /// Else they would count for the messages behind them.
    #[test]
    fn attempts_of_messages_that_are_gone_are_forgotten() {
        let mut tracker = tracker(0..3);
        (0..3).for_each(|offset| tracker.attempt(offset, 5));
        let (start, mut restarted) = restart(&mut tracker);
        assert_eq!(start, 0);
        restarted.restart_at(200);
        let (start, mut restarted) = restart(&mut restarted);
        assert_eq!(start, 200);
        assert!((200..210).all(|offset| restarted.fetch(offset) == Some(1)));
    }

    #[test]
    fn gaps_in_the_offsets_are_no_messages() {
        let mut tracker = Tracker::new(None, Progress::default());
        assert_eq!(tracker.commit(&[]), None);
        for offset in [5, 6, 20] {
            tracker.fetch(offset);
        }
        tracker.settle(5);
        tracker.settle(6);
        assert_eq!(tracker.commit(&[]).unwrap().offset, 20);
        tracker.settle(20);
        assert_eq!(tracker.commit(&[]).unwrap().offset, 21);
    }

    #[test]
    fn old_offsets_are_not_delivered_again() {
        let mut tracker = tracker(0..5);
        assert_eq!(tracker.fetch(3), None);
        assert_eq!(tracker.fetch(5), Some(1));
    }

    #[test]
    fn one_unsettled_message_does_not_hoard_the_others() {
        let mut tracker = Tracker::new(Some(0), Progress::default());
        for offset in 0..100_000 {
            tracker.fetch(offset);
            if offset > 0 {
                tracker.settle(offset);
            }
        }
        assert!(tracker.fetched.len() <= SLACK + 3);
        let commit = tracker.commit(&[]).unwrap();
        assert_eq!(commit.offset, 0);
        assert_eq!(commit.text.covered, 100_000);
    }
}
