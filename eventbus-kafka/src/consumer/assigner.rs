//! Which partitions a consumer has: rebalances of its group, and what they mean for what is
//! in memory. Everything here runs on the thread of the consumer, inside its `poll`.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use eventbus_core::Topic;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    statistics::Statistics,
    types::RDKafkaRespErr,
};

use super::{Consumer, Shared, committer, desk::PartitionId, offsets::Progress};
use crate::client;

/// One question to the group's coordinator.
const QUESTION: Duration = Duration::from_secs(2);
/// How often it is asked before the partitions start without what it knows.
const QUESTIONS: usize = 8;

/// The messages that librdkafka has fetched for one partition.
pub(super) struct Queue {
    pub(super) topic: Topic,
    pub(super) number: i32,
    pub(super) id: PartitionId,
    /// Where it began.
    pub(super) start: Offset,
    pub(super) messages: PartitionQueue<Assigner>,
    /// Set when there may be some.
    pub(super) filled: Arc<AtomicBool>,
    /// Behind what came last there was nothing more.
    pub(super) at_end: Cell<bool>,
}

/// The context of a consumer.
pub(crate) struct Assigner {
    shared: Arc<Shared>,
    consumer: OnceLock<Weak<Consumer>>,
    queues: Mutex<VecDeque<Queue>>,
    /// How many events were served.
    events: AtomicU64,
    /// The group has assigned something, be it nothing.
    assigned: AtomicBool,
    /// The consumer is being closed.
    ending: AtomicBool,
}

/// Where a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Beginning,
    At(i64),
    /// What the group has committed, as far as librdkafka can find out.
    Committed,
}

/// A partition to be read.
pub(super) struct Place {
    pub(super) topic: Topic,
    pub(super) number: i32,
    pub(super) from: From,
    pub(super) progress: Progress,
}

impl Assigner {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            consumer: OnceLock::new(),
            queues: Mutex::default(),
            events: AtomicU64::new(0),
            assigned: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }

    pub(super) fn attach(&self, consumer: &Arc<Consumer>) {
        let _ = self.consumer.set(Arc::downgrade(consumer));
    }

    /// Must not be held while the consumer is polled.
    pub(super) fn queues(&self) -> MutexGuard<'_, VecDeque<Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub(super) fn is_assigned(&self) -> bool {
        self.assigned.load(Ordering::Relaxed)
    }

    /// From now on partitions go without anything being done for them.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.queues().clear();
    }

    /// Starts to read partitions, each with a queue of its own, so that fetching can stop
    /// while the consumer is served, and an error tells which partition it is about.
    pub(super) fn start(&self, places: Vec<Place>) -> KafkaResult<()> {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return Ok(()) };
        let mut list = TopicPartitionList::with_capacity(places.len());
        for place in places {
            let (start, next) = match place.from {
                From::Beginning => (Offset::Beginning, None),
                From::At(offset) => (Offset::Offset(offset), Some(offset)),
                From::Committed => (Offset::Stored, None),
            };
            list.add_partition_offset(place.topic.as_str(), place.number, start)?;
            let Some(mut messages) =
                consumer.split_partition_queue(place.topic.as_str(), place.number)
            else {
                continue;
            };
            let filled = Arc::new(AtomicBool::new(true));
            let (fills, signal) = (filled.clone(), self.shared.signal.clone());
            messages.set_nonempty_callback(move || {
                fills.store(true, Ordering::Release);
                signal.notify();
            });
            let Place { topic, number, progress, .. } = place;
            let id = self.shared.desk().partitions.add(topic.clone(), number, next, progress);
            let at_end = Cell::new(false);
            self.queues().push_back(Queue { topic, number, id, start, messages, filled, at_end });
        }
        consumer.incremental_assign(&list)
    }

    /// Reads a partition from another offset on, what is in memory of it aside.
    pub(super) fn restart(&self, topic: &str, number: i32, offset: Offset) -> KafkaResult<()> {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else { return Ok(()) };
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, number, offset)?;
        let of_it = |queue: &&Queue| queue.topic.as_str() == topic && queue.number == number;
        if let Some(queue) = self.queues().iter().find(of_it) {
            queue.at_end.set(false);
        }
        consumer.incremental_unassign(&list)?;
        consumer.incremental_assign(&list)
    }

    /// What the group has committed for partitions; the beginning where it has nothing, because
    /// then they are newer than the group.
    fn committed(&self, consumer: &Consumer, list: &TopicPartitionList) -> Vec<Place> {
        for _ in 0..QUESTIONS {
            match committed(consumer, list, QUESTION) {
                Ok(committed) => return places(&committed),
                Err(kafka) => {
                    tracing::warn!(%kafka, "the group's offsets cannot be read; trying again");
                }
            }
        }
        let mut places = places(list);
        places.iter_mut().for_each(|place| place.from = From::Committed);
        places
    }

    fn assign(&self, consumer: &Consumer, list: &TopicPartitionList) {
        if self.ending.load(Ordering::Relaxed) {
            // Nothing is read any more, but the group waits for a word, with which librdkafka then
            // gives the partitions up.
            let _ = consumer.incremental_assign(list);
            return;
        }
        let places = self.committed(consumer, list);
        tracing::debug!(partitions = places.len(), "partitions are assigned");
        if let Err(kafka) = self.start(places) {
            tracing::error!(%kafka, "assigned partitions cannot be read");
        }
        self.assigned.store(true, Ordering::Relaxed);
    }

    fn revoke(&self, consumer: &Consumer, list: &TopicPartitionList) {
        let elements = list.elements();
        let gone = |topic: &str, number: i32| {
            elements.iter().any(|e| e.topic() == topic && e.partition() == number)
        };
        tracing::debug!(partitions = elements.len(), "partitions are revoked");
        if !self.ending.load(Ordering::Relaxed) {
            if !consumer.assignment_lost() {
                let pending = self.shared.desk().commits(gone);
                if !pending.is_empty() {
                    committer::commit(consumer, &self.shared, pending);
                }
            }
            self.queues().retain(|queue| !gone(queue.topic.as_str(), queue.number));
            let mut desk = self.shared.desk();
            for element in &elements {
                if let Some(id) = desk.partitions.find(element.topic(), element.partition()) {
                    desk.remove(id);
                }
            }
        }
        if let Err(kafka) = consumer.incremental_unassign(list) {
            tracing::error!(%kafka, "revoked partitions cannot be given up");
        }
    }
}

/// The committed offsets of partitions, all of them or an error.
pub(super) fn committed(
    consumer: &Consumer,
    list: &TopicPartitionList,
    within: Duration,
) -> KafkaResult<TopicPartitionList> {
    let committed = consumer.committed_offsets(list.clone(), within)?;
    committed.elements().iter().try_for_each(|element| element.error())?;
    Ok(committed)
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    let elements = list.elements();
    let places = elements.iter().filter_map(|element| {
        // The filter selects only names that are topics.
        let topic = element.topic().parse().ok()?;
        let (from, progress) = match element.offset() {
            Offset::Offset(offset) => {
                (From::At(offset), Progress::decode(element.metadata(), offset))
            }
            _ => (From::Beginning, None),
        };
        let progress = progress.unwrap_or_default();
        Some(Place { topic, number: element.partition(), from, progress })
    });
    places.collect()
}

impl ClientContext for Assigner {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        client::log(&self.shared.trouble, level, facility, message);
    }

    fn error(&self, kafka: KafkaError, reason: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        let code = kafka.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AutoOffsetReset) {
            // It comes with the partition, too, and is dealt with there.
            return;
        }
        // A reader without a group asks for one all the same, which it need not be allowed to.
        let of_group = code == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        if !of_group || self.shared.desk().partitions.commits {
            client::note(&self.shared.trouble, &kafka, reason);
        }
    }

    fn stats(&self, _: Statistics) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}

impl ConsumerContext for Assigner {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.events.fetch_add(1, Ordering::Relaxed);
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ => self.revoke(consumer, list),
        }
    }
}
