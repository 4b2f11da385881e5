//! `strict_order`: one message of a key in flight, the others behind it.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use eventbus_core::Topic;

use crate::message::Message;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The keys in flight and what waits behind each. Empty without `strict_order`.
#[derive(Default)]
pub(crate) struct Lanes(HashMap<u64, VecDeque<Message>>);

impl Lanes {
    /// The lane of a key; a collision merely makes two keys wait for each other.
    pub(crate) fn of(topic: &Topic, key: &str) -> u64 {
        HASHER.hash_one((topic, key))
    }

    /// Gives the message back if it may be written, and else makes it wait.
    pub(crate) fn enter(&mut self, message: Message) -> Option<Message> {
        let Some(lane) = message.order.and_then(|order| order.lane) else { return Some(message) };
        match self.0.get_mut(&lane) {
            Some(waiting) => {
                waiting.push_back(message);
                None
            }
            None => {
                self.0.insert(lane, VecDeque::new());
                Some(message)
            }
        }
    }

    /// The message of a lane is done with: gives the next one.
    pub(crate) fn next(&mut self, lane: u64) -> Option<Message> {
        let waiting = self.0.get_mut(&lane)?;
        let next = waiting.pop_front();
        if next.is_none() {
            self.0.remove(&lane);
        }
        next
    }

    /// Frees the lane of a message that will not be written; nothing may wait behind it.
    pub(crate) fn leave(&mut self, message: &Message) {
        if let Some(lane) = message.order.and_then(|order| order.lane) {
            self.0.remove(&lane);
        }
    }

    /// Takes out all that wait; the lanes stay for what is in flight.
    pub(crate) fn drain_waiting(&mut self) -> Vec<Message> {
        self.0.values_mut().flat_map(std::mem::take).collect()
    }
}
