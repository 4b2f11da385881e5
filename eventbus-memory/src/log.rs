//! The log of one topic: what is retained, and who waits for more.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use crossbeam_utils::CachePadded;
use eventbus_core::Topic;

use crate::{
    MemoryConfig, blocks::Blocks, duplicates::Duplicates, few::Few, group::Group, key::Key,
    testing::Watch,
};

/// What a record costs besides its bytes, so that small messages do not make the memory of
/// a topic a multiple of its retention.
const RECORD_OVERHEAD: usize = 128;

/// How much one fetch takes at most.
const FETCH_RECORDS: usize = 64;
const FETCH_BYTES: usize = 256 << 10;

/// A stored message.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) encoded: Bytes,
    pub(crate) key: Key,
    pub(crate) published_at: SystemTime,
}

impl Record {
    fn cost(&self) -> usize {
        self.encoded.len() + RECORD_OVERHEAD
    }
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) offset: u64,
    /// The id was stored at `offset` before.
    pub(crate) duplicate: bool,
}

/// What a fetch gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// So many records, and there are more.
    Some(u64),
    /// So many records, all there are.
    All(u64),
    /// The wanted offset is not retained any more.
    Overtaken,
}

pub(crate) struct Log {
    pub(crate) topic: Topic,
    retention: usize,
    watch: Arc<Watch>,
    /// The lowest retained offset, readable without the lock. Groups look at it for each
    /// message, so it is kept apart from what publishers write.
    first: CachePadded<AtomicU64>,
    state: Mutex<State>,
}

struct State {
    first: u64,
    bytes: usize,
    records: VecDeque<Record>,
    blocks: Blocks,
    newest: SystemTime,
    seen: Duplicates,
    readers: Vec<Option<Reader>>,
    hungry: usize,
}

struct Reader {
    group: Weak<Group>,
    /// Which of the group's topics this log is.
    topic: u32,
    /// It has read everything and wants to be told.
    hungry: bool,
}

impl Log {
    pub(crate) fn new(topic: Topic, config: &MemoryConfig, watch: Arc<Watch>) -> Self {
        Self {
            topic,
            retention: config.retention_bytes,
            watch,
            first: CachePadded::new(AtomicU64::new(0)),
            state: Mutex::new(State {
                first: 0,
                bytes: 0,
                records: VecDeque::new(),
                blocks: Blocks::default(),
                newest: SystemTime::UNIX_EPOCH,
                seen: Duplicates::new(config.duplicate_window),
                readers: Vec::new(),
                hungry: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a message. With `once`, only if that id was not stored within the duplicate
    /// window before `now`.
    pub(crate) fn append(
        &self,
        encoded: Bytes,
        key: Key,
        once: Option<(u128, Instant)>,
    ) -> Appended {
        let record = Record { encoded, key, published_at: SystemTime::now() };
        let mut hungry = Few::new();
        let (offset, _oldest) = {
            let mut state = self.lock();
            let offset = state.end();
            if let Some((id, now)) = once
                && let Some(offset) = state.seen.check(id, offset, now)
            {
                return Appended { offset, duplicate: true };
            }
            state.push(record);
            let oldest = state.trim(self.retention, &self.first);
            if state.hungry > 0 {
                state.take_hungry(&mut hungry);
            }
            (offset, oldest)
        };
        for (group, topic) in hungry {
            group.signal(topic);
        }
        self.watch.stored();
        Appended { offset, duplicate: false }
    }

    /// Stores messages with nothing in between. Gives the offset of the first.
    pub(crate) fn append_all(&self, messages: Vec<(Bytes, Key)>) -> u64 {
        let published_at = SystemTime::now();
        let mut hungry = Few::new();
        let offset = {
            let mut state = self.lock();
            let offset = state.end();
            for (encoded, key) in messages {
                state.push(Record { encoded, key, published_at });
            }
            state.trim(self.retention, &self.first);
            state.take_hungry(&mut hungry);
            offset
        };
        for (group, topic) in hungry {
            group.signal(topic);
        }
        self.watch.stored();
        offset
    }

    /// The lowest retained offset.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// The lowest retained offset, and the one that the next message gets.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let state = self.lock();
        (state.first, state.end())
    }

    /// The first message that was stored at `time` or later, or else the next one to come.
    pub(crate) fn offset_at(&self, time: SystemTime) -> u64 {
        let state = self.lock();
        let earlier = state.records.partition_point(|r| r.published_at < time);
        state.first + earlier as u64
    }

    pub(crate) fn get(&self, offset: u64) -> Option<Record> {
        let state = self.lock();
        let at = usize::try_from(offset.checked_sub(state.first)?).ok()?;
        state.records.get(at).cloned()
    }

    /// Everything that is retained, oldest first.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.iter().cloned().collect()
    }

    /// Adds a reader that goes on at `next`; gives its place, and whether there is something
    /// to fetch now. If not, the reader will be told.
    pub(crate) fn attach(&self, group: Weak<Group>, topic: u32, next: u64) -> (usize, bool) {
        let mut state = self.lock();
        let hungry = next >= state.end();
        state.hungry += usize::from(hungry);
        let reader = Some(Reader { group, topic, hungry });
        // Only what was detached: a group that is just being dropped still detaches itself.
        let place = match state.readers.iter().position(Option::is_none) {
            Some(place) => {
                state.readers[place] = reader;
                place
            }
            None => {
                state.readers.push(reader);
                state.readers.len() - 1
            }
        };
        (place, !hungry)
    }

    /// Fetches records from `next` on into `chunk`.
    pub(crate) fn fetch(&self, next: u64, chunk: &mut VecDeque<Record>) -> Fetched {
        let state = self.lock();
        let Some(skip) = next.checked_sub(state.first) else {
            return Fetched::Overtaken;
        };
        let mut count = 0;
        let mut bytes = 0;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let from = skip.min(state.records.len());
        for record in state.records.range(from..).take(FETCH_RECORDS) {
            count += 1;
            bytes += record.encoded.len();
            chunk.push_back(record.clone());
            if bytes >= FETCH_BYTES {
                break;
            }
        }
        if next + count < state.end() { Fetched::Some(count) } else { Fetched::All(count) }
    }

    /// Sees to it that the reader is told when there is something from `next` on; false when
    /// there is already.
    pub(crate) fn await_more(&self, reader: usize, next: u64) -> bool {
        let mut state = self.lock();
        if next < state.end() {
            return false;
        }
        if let Some(reader) = &mut state.readers[reader]
            && !std::mem::replace(&mut reader.hungry, true)
        {
            state.hungry += 1;
        }
        true
    }

    /// Forgets a reader.
    pub(crate) fn detach(&self, reader: usize) {
        let mut state = self.lock();
        let gone = state.readers[reader].take();
        state.hungry -= usize::from(gone.is_some_and(|reader| reader.hungry));
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn push(&mut self, mut record: Record) {
        // The time of the broker never goes back within a topic.
        self.newest = self.newest.max(record.published_at);
        record.published_at = self.newest;
        record.encoded = self.blocks.pack(record.encoded, self.bytes);
        self.bytes += record.cost();
        self.records.push_back(record);
    }

    /// Drops the oldest records beyond the limit, but never the newest; the first of them is
    /// given out, to be freed outside the lock.
    fn trim(&mut self, limit: usize, first: &AtomicU64) -> Option<Record> {
        let mut oldest = None;
        while self.bytes > limit && self.records.len() > 1 {
            let dropped = self.records.pop_front()?;
            self.bytes -= dropped.cost();
            self.first += 1;
            oldest.get_or_insert(dropped);
        }
        if oldest.is_some() {
            first.store(self.first, Ordering::Release);
        }
        oldest
    }

    fn take_hungry(&mut self, hungry: &mut Few<(Arc<Group>, u32)>) {
        for reader in self.readers.iter_mut().flatten() {
            if std::mem::take(&mut reader.hungry)
                && let Some(group) = reader.group.upgrade()
            {
                hungry.push((group, reader.topic));
            }
        }
        self.hungry = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(retention_bytes: usize) -> Log {
        let config = MemoryConfig { retention_bytes, ..MemoryConfig::default() };
        Log::new(Topic::from_static("log"), &config, Arc::default())
    }

    fn append(log: &Log, len: usize) -> u64 {
        log.append(vec![0; len].into(), 0, None).offset
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room() {
        let log = log(10 * (100 + RECORD_OVERHEAD));
        for offset in 0..25 {
            assert_eq!(append(&log, 100), offset);
        }
        assert_eq!(log.bounds(), (15, 25));
        assert_eq!(log.first(), 15);
        assert!(log.get(14).is_none());
        assert!(log.get(15).is_some());
        assert!(log.get(25).is_none());
        append(&log, 5000);
        assert_eq!(log.bounds(), (25, 26), "the newest stays, however large");
        append(&log, 1);
        assert_eq!(log.bounds(), (26, 27));
    }

    #[test]
    fn small_messages_do_not_keep_the_memory_in_which_they_came() {
        let log = log(1 << 20);
        let came = Bytes::from(vec![7; 100]);
        log.append(came.clone(), 0, None);
        log.append_all(vec![(came.clone(), 0)]);
        assert!(came.is_unique());
        assert!(log.records().iter().all(|record| record.encoded == came));
    }

    #[test]
    fn the_time_never_goes_back() {
        let log = log(1000);
        let future = SystemTime::now() + std::time::Duration::from_secs(1000);
        log.lock().newest = future;
        append(&log, 1);
        assert_eq!(log.get(0).unwrap().published_at, future);
    }

    #[test]
    fn a_fetch_takes_a_part_and_says_whether_there_is_more() {
        let log = log(1 << 20);
        let mut chunk = VecDeque::new();
        for _ in 0..FETCH_RECORDS + 1 {
            append(&log, 1);
        }
        let (reader, more) = log.attach(Weak::new(), 0, 0);
        assert!(more);
        let most = FETCH_RECORDS as u64;
        assert_eq!(log.fetch(0, &mut chunk), Fetched::Some(most));
        assert_eq!(log.fetch(most, &mut chunk), Fetched::All(1));
        assert_eq!(log.fetch(most + 1, &mut chunk), Fetched::All(0));
        assert_eq!(chunk.len(), FETCH_RECORDS + 1);
        assert!(!log.await_more(reader, most), "there is one");
        assert!(log.await_more(reader, most + 1));
        append(&log, FETCH_BYTES);
        append(&log, 1);
        assert_eq!(log.fetch(most + 1, &mut chunk), Fetched::Some(1), "large ones alone");
    }

    #[test]
    fn the_place_of_a_reader_that_was_detached_is_used_again_and_no_other() {
        let log = log(1000);
        for _ in 0..100 {
            let (reader, _) = log.attach(Weak::new(), 0, 0);
            assert_eq!(reader, 0);
            log.detach(reader);
        }
        assert_eq!(log.lock().hungry, 0);
        // Its group is gone, and about to detach it.
        let (going, _) = log.attach(Weak::new(), 0, 0);
        let (coming, _) = log.attach(Weak::new(), 0, 0);
        log.detach(going);
        assert!(log.lock().readers[coming].is_some());
        assert_eq!(log.lock().hungry, 1);
    }
}
