//! Watches for partitions whose fetching stands still.
//!
//! librdkafka 2.12 was seen to fetch nothing more of some partitions after their leaders had
//! changed on a busy machine, without a word. So where nothing comes, the broker is asked whether
//! it has more.

use std::{collections::HashMap, time::Duration};

use eventbus_core::Topic;
use rdkafka::Offset;

/// How often to look.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// After so many looks in a row at which the broker had more and nothing had come, a partition is
/// begun anew; after twice as many the next time, since that throws away what is on its way.
const LOOKS: u32 = 2;
const MOST_LOOKS: u32 = 256;

/// Where a partition stands: the next offset that is to come, `None` if nothing came from where it
/// started and that is no offset, and whether librdkafka has found the end since then or since it was begun anew.
pub(super) struct Standing {
    pub(super) topic: Topic,
    pub(super) number: i32,
    pub(super) next: Option<i64>,
    pub(super) start: Offset,
    pub(super) at_end: bool,
}

struct Seen {
    next: Option<i64>,
    behind: u32,
    patience: u32,
    /// Where the end was when it was begun anew.
    asked: Option<i64>,
    /// Before this nothing is to come: a transaction ends with what is no message.
    barren: i64,
}

/// What was seen at the last look.
#[derive(Default)]
pub(super) struct Watch(HashMap<(Topic, i32), Seen>);

impl Watch {
    /// Takes a look; those that stand where they stood at the last one.
    pub(super) fn look(&mut self, standings: Vec<Standing>) -> Vec<Standing> {
        let mut before = std::mem::take(&mut self.0);
        standings
            .into_iter()
            .filter(|Standing { topic, number, next, at_end, .. }| {
                let place = (topic.clone(), *number);
                let known = before.remove(&place).filter(|seen| seen.next == *next);
                let still = known.is_some();
                let mut seen = known.unwrap_or(Seen {
                    next: *next,
                    behind: 0,
                    patience: LOOKS,
                    asked: None,
                    barren: next.unwrap_or(0),
                });
                if *at_end && let Some(end) = seen.asked.take() {
                    seen.barren = end;
                }
                self.0.insert(place, seen);
                still
            })
            .collect()
    }

    /// Nothing is to come at the moment.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// The broker has messages up to `end`. Whether the partition is to be begun anew.
    pub(super) fn is_stuck(&mut self, topic: &Topic, number: i32, end: i64) -> bool {
        let Some(seen) = self.0.get_mut(&(topic.clone(), number)) else { return false };
        seen.behind = if seen.barren < end { seen.behind + 1 } else { 0 };
        let stuck = seen.behind >= seen.patience;
        if stuck {
            seen.behind = 0;
            seen.asked = Some(end);
            seen.patience = (2 * seen.patience).min(MOST_LOOKS);
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic::from_static("watched");

    /// Takes a look, and asks where the partition stands still.
    fn look(watch: &mut Watch, next: Option<i64>, end: i64, at_end: bool) -> bool {
        let start = Offset::Beginning;
        let still = watch.look(vec![Standing { topic: TOPIC, number: 0, next, start, at_end }]);
        still.iter().any(|one| watch.is_stuck(&one.topic, one.number, end))
    }

    fn is_stuck(watch: &mut Watch, next: i64, end: i64) -> bool {
        look(watch, Some(next), end, false)
    }

    /// How many looks it takes until the partition is begun anew.
    fn looks(watch: &mut Watch) -> usize {
        (1..1000).find(|_| is_stuck(watch, 5, 9)).unwrap()
    }

    #[test]
    fn what_stands_still_with_more_to_come_is_begun_anew_and_less_often_each_time() {
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch), 3);
        assert_eq!(looks(&mut watch), 4);
        assert_eq!(looks(&mut watch), 8);
        assert!((0..2000).filter(|_| is_stuck(&mut watch, 5, 9)).count() > 5, "never given up");
    }

    #[test]
    fn what_moves_is_left_alone() {
        let mut watch = Watch::default();
        assert!((0..100).all(|next| !is_stuck(&mut watch, next, 1000)));
        assert_eq!(looks(&mut watch), 3, "and is as patient as ever afterwards");
    }

    #[test]
    fn what_is_at_its_end_is_left_alone() {
        let mut watch = Watch::default();
        assert!((0..100).all(|_| !is_stuck(&mut watch, 9, 9)));
        // Something has come just now.
        assert!(!is_stuck(&mut watch, 9, 10));
        assert!(!is_stuck(&mut watch, 10, 10));
    }

    #[test]
    fn what_is_no_message_is_missed_once() {
        let mut watch = Watch::default();
        // That it was at the end before says nothing about now.
        assert!((0..3).any(|_| look(&mut watch, Some(5), 9, true)));
        assert!((0..100).all(|_| !look(&mut watch, Some(5), 9, true)));
        assert!((0..9).any(|_| look(&mut watch, Some(5), 10, true)), "there is more by now");
        assert!((0..9).any(|_| look(&mut watch, Some(5), 10, false)), "and it is not found");
    }

    #[test]
    fn what_has_brought_nothing_yet_is_missed_too() {
        let mut watch = Watch::default();
        assert!((0..100).all(|_| !look(&mut watch, None, 0, false)));
        assert!((0..3).any(|_| look(&mut watch, None, 1, false)));
    }

    #[test]
    fn what_is_not_to_come_is_not_missed() {
        let mut watch = Watch::default();
        for _ in 0..100 {
            assert!(!is_stuck(&mut watch, 5, 9));
            assert!(!is_stuck(&mut watch, 5, 9));
            watch.forget();
        }
    }
}
