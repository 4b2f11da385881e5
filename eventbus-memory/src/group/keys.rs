//! Per-key order: which keys have a message under way, and what waits behind it.

use std::collections::{HashMap, VecDeque};

use crate::key::Key;

/// A key of one of the group's topics.
pub(super) type TopicKey = (u32, Key);

/// Every key that has a message under way, with the offsets of those that were passed over
/// because of it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    lanes: HashMap<TopicKey, VecDeque<u64>>,
    /// Keys whose message is settled and that have others waiting.
    ready: VecDeque<TopicKey>,
    parked: usize,
}

impl Keys {
    /// How many messages were passed over.
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// Takes the turn of a key. If another message has it, `offset` waits behind it.
    pub(super) fn enter(&mut self, key: TopicKey, offset: u64) -> bool {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.push_back(offset);
            self.parked += 1;
            return false;
        }
        self.lanes.insert(key, VecDeque::new());
        true
    }

    /// The message that had the turn is done with. True when another can go.
    pub(super) fn leave(&mut self, key: TopicKey) -> bool {
        let Some(lane) = self.lanes.get(&key) else {
            return false;
        };
        if lane.is_empty() {
            self.lanes.remove(&key);
            return false;
        }
        self.ready.push_back(key);
        true
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next message of a key whose turn it is; it takes the turn.
    pub(super) fn pop_ready(&mut self) -> Option<(TopicKey, u64)> {
        let key = self.ready.pop_front()?;
        let offset = self.lanes.get_mut(&key)?.pop_front()?;
        self.parked -= 1;
        Some((key, offset))
    }

    /// What [`pop_ready`](Self::pop_ready) gave could not be delivered.
    pub(super) fn give_back_turn(&mut self, key: TopicKey, offset: u64) {
        self.lanes.entry(key).or_default().push_front(offset);
        self.ready.push_front(key);
        self.parked += 1;
    }

    /// Forgets what waits in `topic` before `first`; how many those were.
    pub(super) fn overtake(&mut self, topic: u32, first: u64) -> u64 {
        let mut lost = 0;
        for lane in self.lanes.iter_mut().filter(|((of, _), _)| *of == topic).map(|(_, lane)| lane)
        {
            let gone = lane.partition_point(|offset| *offset < first);
            lane.drain(..gone);
            lost += gone;
        }
        self.parked -= lost;
        // A ready key with nothing left has no message under way either.
        let lanes = &mut self.lanes;
        self.ready.retain(|key| {
            let keep = lanes.get(key).is_some_and(|lane| !lane.is_empty());
            if !keep {
                lanes.remove(key);
            }
            keep
        });
        lost as u64
    }
}
