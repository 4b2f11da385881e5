//! The log, and who reads it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::SystemTime,
};

use bytes::Bytes;
use eventbus_core::{Start, SubscribeOptions, Topic, TopicFilter};

use super::cursor::Cursor;

/// Everything, behind one lock.
#[derive(Default)]
pub(super) struct Log(Mutex<State>);

impl Log {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Record {
    pub(super) topic: Topic,
    pub(super) key: Option<String>,
    pub(super) bytes: Bytes,
    pub(super) at: SystemTime,
}

/// What is delivered in order: a key of a topic.
pub(super) type Key<'a> = (&'a Topic, &'a str);

impl Record {
    pub(super) fn key(&self) -> Option<Key<'_>> {
        self.key.as_deref().map(|key| (&self.topic, key))
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) records: Vec<Record>,
    pub(super) topics: HashSet<Topic>,
    groups: HashMap<(String, TopicFilter), u64>,
    pub(super) cursors: HashMap<u64, Cursor>,
    /// Of the sources that wait, by their number.
    pub(super) waiting: HashMap<u64, Waker>,
    last_number: u64,
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn append(&mut self, topic: &Topic, bytes: Bytes, key: Option<&str>) -> u64 {
        self.topics.insert(topic.clone());
        // The clock may be set back; the log must not.
        let last = self.records.last().map_or(SystemTime::UNIX_EPOCH, |record| record.at);
        self.records.push(Record {
            topic: topic.clone(),
            key: key.map(str::to_owned),
            bytes,
            at: SystemTime::now().max(last),
        });
        self.wake_all();
        self.records.len() as u64 - 1
    }

    pub(super) fn wake_all(&mut self) {
        for (_, waker) in self.waiting.drain() {
            waker.wake();
        }
    }

    /// The cursor of a group, or a new one.
    pub(super) fn open(&mut self, filter: &TopicFilter, options: &SubscribeOptions) -> u64 {
        let group = options.group.clone().map(|name| (name, filter.clone()));
        if let Some(number) = group.as_ref().and_then(|group| self.groups.get(group)) {
            return *number;
        }
        let number = self.number();
        let mut cursor = Cursor::new(filter.clone(), options);
        match options.effective_start() {
            Start::Latest => cursor.next = self.records.len(),
            Start::Time(time) => {
                cursor.next = self.records.partition_point(|record| record.at < time);
            }
            Start::Positions(positions) => {
                for position in positions {
                    let from = usize::try_from(position.offset()).unwrap_or(usize::MAX);
                    let lowest = cursor.from.entry(position.topic().clone()).or_insert(from);
                    *lowest = from.min(*lowest);
                }
            }
            _ => {}
        }
        self.cursors.insert(number, cursor);
        if let Some(group) = group {
            self.groups.insert(group, number);
        }
        number
    }
}
