//! The topics of a group: its position in each, and which have something new.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use eventbus_core::Topic;

use super::Group;
use crate::log::{Fetched, Log, Record};

#[derive(Default)]
pub(super) struct Topics {
    cursors: Vec<Cursor>,
    /// Topics that have something to fetch, each at most once.
    ready: VecDeque<u32>,
    /// The topic that was read to its end last, until [`await_more`](Self::await_more) looks
    /// at it again: telling when there is more costs publishers more than looking costs here.
    drained: Option<u32>,
    /// Records of one topic that were fetched and not handed out, from `chunk_from` on.
    chunk: VecDeque<Record>,
    chunk_topic: u32,
    chunk_from: u64,
}

struct Cursor {
    /// That of the log, but not next to what publishers write.
    topic: Topic,
    log: Arc<Log>,
    reader: usize,
    /// The next offset to fetch.
    next: u64,
    /// It is among the ready or the drained; otherwise its log tells when there is more.
    queued: bool,
}

/// What is new.
pub(super) enum New {
    Record(u32, u64, Record),
    /// Retention has removed what this topic would have gone on with.
    Overtaken(u32),
    Nothing,
}

impl Topics {
    pub(super) fn attach(&mut self, group: Weak<Group>, log: Arc<Log>, next: u64) {
        let topic = self.cursors.len() as u32;
        let (reader, queued) = log.attach(group, topic, next);
        self.cursors.push(Cursor { topic: log.topic.clone(), log, reader, next, queued });
        if queued {
            self.ready.push_back(topic);
        }
    }

    pub(super) fn detach(&mut self) {
        for cursor in self.cursors.drain(..) {
            cursor.log.detach(cursor.reader);
        }
    }

    pub(super) fn log(&self, topic: u32) -> &Arc<Log> {
        &self.cursors[topic as usize].log
    }

    pub(super) fn name(&self, topic: u32) -> &Topic {
        &self.cursors[topic as usize].topic
    }

    /// There is something in `topic`.
    pub(super) fn queue(&mut self, topic: u32) {
        let cursor = &mut self.cursors[topic as usize];
        if !std::mem::replace(&mut cursor.queued, true) {
            self.ready.push_back(topic);
        }
    }

    pub(super) fn any_new(&self) -> bool {
        let more = |topic: u32| {
            let cursor = &self.cursors[topic as usize];
            cursor.next < cursor.log.bounds().1
        };
        !self.chunk.is_empty() || !self.ready.is_empty() || self.drained.is_some_and(more)
    }

    /// Whether a topic was read to its end that does not tell yet when there is more.
    pub(super) fn is_drained(&self) -> bool {
        self.drained.is_some()
    }

    /// Sees to it that each topic without anything new tells when there is. True when there
    /// is something new already.
    pub(super) fn await_more(&mut self) -> bool {
        if let Some(topic) = self.drained.take() {
            let cursor = &mut self.cursors[topic as usize];
            if cursor.log.await_more(cursor.reader, cursor.next) {
                cursor.queued = false;
            } else {
                self.ready.push_back(topic);
            }
        }
        !self.chunk.is_empty() || !self.ready.is_empty()
    }

    /// Takes the next record: the topics take turns, a chunk each.
    pub(super) fn pop(&mut self) -> New {
        loop {
            if let Some(record) = self.chunk.pop_front() {
                let (topic, offset) = (self.chunk_topic, self.chunk_from);
                self.chunk_from += 1;
                if offset < self.log(topic).first() {
                    self.chunk.push_front(record);
                    self.chunk_from -= 1;
                    return New::Overtaken(topic);
                }
                return New::Record(topic, offset, record);
            }
            let Some(topic) = self.ready.pop_front() else {
                return New::Nothing;
            };
            let cursor = &mut self.cursors[topic as usize];
            let from = cursor.next;
            let (count, more) = match cursor.log.fetch(from, &mut self.chunk) {
                Fetched::Overtaken => {
                    self.ready.push_front(topic);
                    return New::Overtaken(topic);
                }
                Fetched::Some(count) => (count, true),
                Fetched::All(count) => (count, false),
            };
            cursor.next += count;
            if more {
                self.ready.push_back(topic);
            } else {
                self.await_more();
                self.drained = Some(topic);
            }
            (self.chunk_topic, self.chunk_from) = (topic, from);
        }
    }

    /// Goes on behind what retention has removed; how many messages that skips, and where
    /// it goes on.
    pub(super) fn overtake(&mut self, topic: u32) -> (u64, u64) {
        let first = self.log(topic).first();
        let mut lost = 0;
        if self.chunk_topic == topic {
            while self.chunk_from < first && self.chunk.pop_front().is_some() {
                self.chunk_from += 1;
                lost += 1;
            }
        }
        let cursor = &mut self.cursors[topic as usize];
        if cursor.next < first {
            lost += first - cursor.next;
            cursor.next = first;
        }
        (lost, first)
    }
}
