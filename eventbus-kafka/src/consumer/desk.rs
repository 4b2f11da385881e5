//! The messages of a subscription in this process: fetched, handed out, waiting for their
//! key or for their redelivery. Knows nothing of Kafka but partitions and offsets.

mod keys;
mod message;
mod partitions;
mod table;

use std::{
    collections::VecDeque,
    task::Waker,
    time::{Duration, Instant, SystemTime},
};

use eventbus_core::{
    Error, Ordering, SubscribeOptions,
    backend::{Content, Incoming, Settlement, SourceError, Token},
};

use keys::Keys;
pub(crate) use message::{Message, Settled};
pub(crate) use partitions::{PartitionId, Partitions, Pending, unconfirmed};
use table::Table;

/// How many bytes may be in memory before fetching pauses.
const MOST_BYTES: usize = 32 << 20;

/// How many go out of turn before one in turn if there are both: what is nacked for ever must
/// not keep all others back.
const FIRST_IN_A_ROW: usize = 8;

/// Where a source is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Nothing is handed out any more; what was can be settled.
    Stopped,
    /// Nothing can be settled any more.
    Closed,
}

pub(crate) struct Desk {
    per_key: bool,
    ack_wait: Duration,
    most_in_flight: usize,
    /// How many messages may be in memory in all.
    most: usize,
    bytes: usize,
    pub(crate) partitions: Partitions,
    /// In the order in which they were fetched.
    ready: VecDeque<Message>,
    /// Next in line before those: redeliveries, and those whose key has become free.
    first: VecDeque<Message>,
    /// How many of the first were handed out since the last other.
    in_a_row: usize,
    keys: Keys,
    table: Table,
    /// What the reader is to be told besides messages.
    pub(crate) failures: VecDeque<SourceError>,
    pub(crate) phase: Phase,
    reader: Option<Waker>,
    /// The fetching thread waits for room.
    starved: bool,
    /// Since when nothing could be handed out because of a limit.
    stalled: Option<Instant>,
}

impl Desk {
    pub(crate) fn new(options: &SubscribeOptions) -> Self {
        let per_key = options.ordering == Ordering::PerKey;
        let most_in_flight = options.max_in_flight.max(1);
        // Others go on while many wait for their key.
        let factor = if per_key { 8 } else { 2 };
        Self {
            per_key,
            ack_wait: options.ack_wait,
            most_in_flight,
            most: most_in_flight.saturating_mul(factor).max(64),
            bytes: 0,
            partitions: Partitions::default(),
            ready: VecDeque::new(),
            first: VecDeque::new(),
            in_a_row: 0,
            keys: Keys::default(),
            table: Table::default(),
            failures: VecDeque::new(),
            phase: Phase::Open,
            reader: None,
            starved: false,
            stalled: None,
        }
    }

    fn total(&self) -> usize {
        self.ready.len() + self.first.len() + self.keys.waiting() + self.table.len()
    }

    /// How many messages may be fetched now; at zero the thread is woken when there is room.
    pub(crate) fn room(&mut self) -> usize {
        let total = self.total();
        if self.phase != Phase::Open {
            return 0;
        }
        if total >= self.most || self.bytes >= MOST_BYTES {
            self.starved = true;
            return 0;
        }
        self.most - total
    }

    /// Whether the thread was waiting for room and there is some.
    fn feeds_the_starved(&mut self) -> bool {
        let fed = self.starved
            && self.total() <= self.most - self.most / 4
            && self.bytes <= MOST_BYTES / 4 * 3;
        self.starved &= !fed;
        fed
    }

    /// Takes fetched messages, with their attempt to be filled in, in the order of each
    /// partition. Those that are settled already are dropped.
    pub(crate) fn push(&mut self, fetched: &mut Vec<Message>) {
        for mut message in fetched.drain(..) {
            if self.phase != Phase::Open {
                continue;
            }
            if let Some(attempt) = self.partitions.fetch(message.partition, message.offset) {
                message.attempt = attempt;
                self.bytes += message.bytes.len();
                self.ready.push_back(message);
            }
        }
        self.wake_reader();
    }

    pub(crate) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The next thing for the reader.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Result<Incoming, SourceError>> {
        if let Some(failure) = self.failures.pop_front() {
            return Some(Err(failure));
        }
        if self.table.held() >= self.most_in_flight {
            self.stalled.get_or_insert(now);
            return None;
        }
        let Some(message) = self.pop() else {
            let full = self.total() >= self.most;
            self.stalled = if full { self.stalled.or(Some(now)) } else { None };
            return None;
        };
        self.stalled = None;
        let expires = now + self.ack_wait;
        let topic = self.partitions.topic(message.partition).clone();
        let partition = self.partitions.number(message.partition);
        let content = match &message.raw {
            Some(raw) => Content::Raw(raw.clone()),
            None => Content::Encoded(message.bytes.clone()),
        };
        let offset = u64::try_from(message.offset).unwrap_or_default();
        let (attempt, expired_before) = (message.attempt, message.expired_before);
        let published_at = SystemTime::UNIX_EPOCH
            + Duration::from_millis(u64::try_from(message.published_at).unwrap_or_default());
        self.partitions.hand_out(message.partition);
        let token = self.table.hand_out(message, expires);
        let mut incoming = Incoming::new(topic, content, offset, token, expires);
        incoming.partition = partition;
        incoming.attempt = attempt;
        incoming.expired_before = expired_before;
        incoming.published_at = published_at;
        Some(Ok(incoming))
    }

    fn pop(&mut self) -> Option<Message> {
        if self.in_a_row < FIRST_IN_A_ROW
            && let Some(message) = self.first.pop_front()
        {
            self.in_a_row += 1;
            return Some(message);
        }
        self.in_a_row = 0;
        while let Some(message) = self.ready.pop_front() {
            match message.key {
                Some(key) if self.per_key => {
                    if let Some(message) = self.keys.enter(key, message) {
                        return Some(message);
                    }
                }
                _ => return Some(message),
            }
        }
        self.first.pop_front()
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        match &self.reader {
            Some(reader) if reader.will_wake(waker) => {}
            _ => self.reader = Some(waker.clone()),
        }
    }

    /// Settles a message; whether the thread is to be woken.
    pub(crate) fn settle(&mut self, token: Token, settlement: Settlement) -> (Settled, bool) {
        match settlement {
            Settlement::Extend => {
                let extended = self.table.extend(token, Instant::now() + self.ack_wait);
                (if extended { Settled::Done } else { Settled::Expired }, false)
            }
            Settlement::Nack(delay) => self.nack(token, delay, Instant::now()),
            settlement => {
                let Some(message) = self.table.take(token) else {
                    return (Settled::Expired, false);
                };
                let newly_dirty = self.partitions.settle(message.partition, message.offset);
                self.forget(&message);
                let wake = self.after_settling() | newly_dirty;
                match settlement {
                    Settlement::AckConfirmed if self.partitions.commits => {
                        (Settled::Confirming(message.partition, message.offset), true)
                    }
                    _ => (Settled::Done, wake),
                }
            }
        }
    }

    fn nack(&mut self, token: Token, delay: Duration, now: Instant) -> (Settled, bool) {
        let Some(mut message) = self.table.take(token) else {
            return (Settled::Expired, false);
        };
        message.attempt += 1;
        message.expired_before = false;
        let newly_dirty =
            self.partitions.attempt(message.partition, message.offset, message.attempt);
        let sooner = self.redeliver(message, now + delay, now);
        (Settled::Done, self.after_settling() | newly_dirty | sooner)
    }

    /// A delivery was dropped unsettled; whether the thread is to be woken. Once nothing is handed
    /// out any more nobody waits for it here: its next attempt is up to another member.
    pub(crate) fn abandon(&mut self, token: Token) -> bool {
        if self.phase == Phase::Open {
            self.table.abandon(token);
            return false;
        }
        let Some(message) = self.table.take(token) else { return false };
        self.give_up(&message);
        self.after_settling()
    }

    fn give_up(&mut self, message: &Message) {
        self.partitions.attempt(message.partition, message.offset, message.attempt + 1);
        self.forget(message);
    }

    /// Puts a message back, to be handed out at `due`; whether that is the next thing to do.
    fn redeliver(&mut self, message: Message, due: Instant, now: Instant) -> bool {
        if self.phase != Phase::Open {
            self.forget(&message);
            false
        } else if due <= now {
            self.first.push_back(message);
            self.wake_reader();
            false
        } else {
            self.table.delay(message, due)
        }
    }

    /// A message leaves the memory.
    fn forget(&mut self, message: &Message) {
        self.bytes = self.bytes.saturating_sub(message.bytes.len());
        self.free_key(message.key);
    }

    fn free_key(&mut self, key: Option<u64>) {
        if !self.per_key {
            return;
        }
        if let Some(next) = key.and_then(|key| self.keys.leave(key)) {
            self.first.push_back(next);
            self.wake_reader();
        }
    }

    fn after_settling(&mut self) -> bool {
        if self.table.held() + 1 == self.most_in_flight {
            self.wake_reader();
        }
        let drained = self.phase == Phase::Stopped && self.table.held() == 0;
        self.feeds_the_starved() | drained
    }

    /// Does what is due; when the next is. Handed-out messages whose time is over come again.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some(mut message) = self.table.pop_expired(now) {
            message.attempt += 1;
            message.expired_before = true;
            self.partitions.attempt(message.partition, message.offset, message.attempt);
            self.redeliver(message, now, now);
        }
        while let Some(message) = self.table.pop_due(now) {
            self.redeliver(message, now, now);
        }
        if !self.first.is_empty() {
            self.wake_reader();
        }
        self.table.next_event()
    }

    /// What is to be committed now, for the chosen partitions.
    pub(crate) fn commits(&mut self, chosen: impl Fn(&str, i32) -> bool) -> Vec<Pending> {
        let table = &self.table;
        self.partitions.commits(chosen, |partition| table.held_of(partition))
    }

    /// Goes on at another offset of a partition. Where that lies before, the topic is another one
    /// by now, and what is in memory is of the one that was.
    pub(crate) fn restart_at(&mut self, partition: PartitionId, offset: i64) {
        if self.partitions.next(partition).is_some_and(|next| offset < next) {
            self.forget_all(partition);
        }
        self.partitions.restart_at(partition, offset);
    }

    /// Drops a partition with all its messages: they belong to another member.
    pub(crate) fn remove(&mut self, partition: PartitionId) {
        self.forget_all(partition);
        self.partitions.remove(partition);
    }

    /// Drops all messages of a partition, those that are handed out, too.
    fn forget_all(&mut self, partition: PartitionId) {
        let lost = |message: &Message| message.partition == partition;
        let mut gone: Vec<Message> = self.table.remove(lost);
        gone.extend(extract(&mut self.first, lost));
        // These do not occupy their key.
        let mut idle = extract(&mut self.ready, lost);
        idle.extend(self.keys.remove_waiting(lost));
        for message in &idle {
            self.bytes = self.bytes.saturating_sub(message.bytes.len());
        }
        for message in &gone {
            self.forget(message);
        }
        self.wake_reader();
    }

    /// Hands out nothing any more, and forgets what was not handed out.
    pub(crate) fn stop(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::Stopped;
            self.ready = VecDeque::new();
            self.first = VecDeque::new();
            self.keys = Keys::default();
            self.table.forget_delayed();
            self.bytes = 0;
            for message in self.table.take_abandoned() {
                self.give_up(&message);
            }
            self.wake_reader();
        }
    }

    /// Settles nothing any more.
    pub(crate) fn close(&mut self) {
        self.stop();
        self.phase = Phase::Closed;
    }

    /// The thread has ended: nothing is committed any more.
    pub(crate) fn end(&mut self) {
        self.stop();
        self.partitions.end();
        self.wake_reader();
    }

    /// The reader is told, and gets nothing after it.
    pub(crate) fn fail(&mut self, error: Error) {
        self.stop();
        self.failures.push_back(SourceError::Terminal(error));
        self.wake_reader();
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.table.held()
    }

    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.stalled.map(|since| since.elapsed())
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.phase != Phase::Open && self.table.held() == 0
    }
}

pub(crate) fn closed() -> Error {
    crate::error::error(
        eventbus_core::ErrorKind::Closed,
        "the bus was closed before the delivery was settled; it will be delivered again",
    )
}

fn extract(queue: &mut VecDeque<Message>, takes: impl Fn(&Message) -> bool) -> Vec<Message> {
    let (taken, left) = std::mem::take(queue).into_iter().partition(|message| takes(message));
    *queue = left;
    let taken: VecDeque<Message> = taken;
    taken.into()
}

#[cfg(test)]
mod tests;
