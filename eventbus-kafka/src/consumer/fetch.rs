//! Taking messages over from librdkafka.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::Ordering,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use eventbus_core::{RawTopics, Topic};
use rdkafka::{
    Message as _,
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    assigner::{Assigner, Queue},
    desk::Message,
};
use crate::raw;

/// So many messages of one partition are taken in a row.
const SHARE: usize = 128;
/// So many messages are taken at once.
const MOST: usize = 512;
/// Payloads are copied into blocks of this size: fewer allocations, and what one message that
/// is held for long keeps in memory.
const BLOCK: usize = 16 << 10;

/// An error that concerns one partition.
pub(super) struct Fault {
    pub(super) topic: Topic,
    pub(super) number: i32,
    pub(super) code: Code,
}

pub(super) struct Fetcher {
    block: BytesMut,
    /// Set where the order of keys matters.
    hasher: Option<RandomState>,
    raw: RawTopics,
    pub(super) fetched: Vec<Message>,
    pub(super) faults: Vec<Fault>,
}

impl Fetcher {
    pub(super) fn new(per_key: bool, raw: RawTopics) -> Self {
        Self {
            block: BytesMut::new(),
            hasher: per_key.then(RandomState::new),
            raw,
            fetched: Vec::with_capacity(MOST),
            faults: Vec::new(),
        }
    }

    /// Takes at most `room` messages, of each partition in turn.
    pub(super) fn fetch(&mut self, assigner: &Assigner, room: usize) {
        let most = room.min(MOST);
        let mut queues = assigner.queues();
        for _ in 0..queues.len() {
            let left = most.saturating_sub(self.fetched.len());
            if left == 0 {
                return;
            }
            if let Some(queue) = queues.front()
                && queue.filled.swap(false, Ordering::AcqRel)
                && self.drain(queue, left.min(SHARE))
            {
                queue.filled.store(true, Ordering::Release);
            }
            queues.rotate_left(1);
        }
    }

    /// Whether there may be more.
    fn drain(&mut self, queue: &Queue, most: usize) -> bool {
        let is_raw = self.raw.matches(&queue.topic);
        for _ in 0..most {
            match queue.messages.poll(Duration::ZERO) {
                None => return false,
                Some(Ok(message)) => {
                    queue.at_end.set(false);
                    let bytes = self.copy(message.payload().unwrap_or_default());
                    let key = match (&self.hasher, message.key()) {
                        (Some(hasher), Some(key)) => {
                            Some(hasher.hash_one((queue.topic.as_str(), key)))
                        }
                        _ => None,
                    };
                    self.fetched.push(Message {
                        partition: queue.id,
                        offset: message.offset(),
                        key,
                        raw: is_raw.then(|| Box::new(raw::read(&message, bytes.clone()))),
                        bytes,
                        published_at: message.timestamp().to_millis().unwrap_or_default(),
                        attempt: 1,
                        expired_before: false,
                    });
                }
                Some(Err(KafkaError::PartitionEOF(_))) => queue.at_end.set(true),
                Some(Err(kafka)) => self.note(queue, &kafka),
            }
        }
        true
    }

    fn note(&mut self, queue: &Queue, kafka: &KafkaError) {
        if let Some(code) = kafka.rdkafka_error_code() {
            self.faults.push(Fault { topic: queue.topic.clone(), number: queue.number, code });
        }
    }

    fn copy(&mut self, payload: &[u8]) -> Bytes {
        if payload.len() > BLOCK / 4 {
            return Bytes::copy_from_slice(payload);
        }
        if self.block.capacity() < payload.len() {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(payload);
        self.block.split().freeze()
    }
}
