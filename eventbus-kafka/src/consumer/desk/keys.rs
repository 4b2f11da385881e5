//! One message of a key at a time.

use std::collections::{HashMap, VecDeque};

use super::Message;

/// The keys that are busy, each with the messages that wait for it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    busy: HashMap<u64, VecDeque<Message>>,
    waiting: usize,
}

impl Keys {
    /// Lets a message pass and occupies its key, or makes it wait.
    pub(super) fn enter(&mut self, key: u64, message: Message) -> Option<Message> {
        if let Some(line) = self.busy.get_mut(&key) {
            line.push_back(message);
            self.waiting += 1;
            return None;
        }
        self.busy.insert(key, VecDeque::new());
        Some(message)
    }

    /// Frees a key; the next message that occupies it.
    pub(super) fn leave(&mut self, key: u64) -> Option<Message> {
        let next = self.busy.get_mut(&key).and_then(VecDeque::pop_front);
        match &next {
            Some(_) => self.waiting -= 1,
            None => {
                self.busy.remove(&key);
            }
        }
        next
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes messages out that wait.
    pub(super) fn remove_waiting(&mut self, takes: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut taken = Vec::new();
        for line in self.busy.values_mut() {
            taken.extend(super::extract(line, &takes));
        }
        self.waiting -= taken.len();
        taken
    }
}
