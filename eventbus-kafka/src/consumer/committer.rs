//! The thread that commits. Commits without an answer are not good enough, and rdkafka 0.39
//! passes on the answer to none but those that wait for it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};

use super::{Assigner, Consumer, Shared, desk::Pending};

/// Commits for one consumer, one commit at a time.
pub(super) struct Committer {
    jobs: mpsc::Sender<Vec<Pending>>,
    busy: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(consumer: &Arc<Consumer>, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Vec<Pending>>();
        let busy = Arc::new(AtomicBool::new(false));
        let (weak, shared, done) = (Arc::downgrade(consumer), shared.clone(), busy.clone());
        let work = move || {
            for pending in queue {
                if let Some(consumer) = Weak::upgrade(&weak) {
                    commit(&consumer, &shared, pending);
                }
                done.store(false, Ordering::Release);
                shared.signal.notify();
            }
        };
        let thread =
            thread::Builder::new().name("eventbus-kafka-commits".to_owned()).spawn(work)?;
        Ok(Self { jobs, busy, thread })
    }

    /// Whether the last commit has no answer yet.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Commits what there is, unless it is busy: then its end wakes the thread.
    pub(super) fn commit(&self, shared: &Shared) {
        if self.is_busy() {
            return;
        }
        let pending = shared.desk().commits(|_, _| true);
        if !pending.is_empty() {
            self.busy.store(true, Ordering::Release);
            // It only ends when this is dropped.
            let _ = self.jobs.send(pending);
        }
    }

    /// Commits everything, and ends. False when the broker did not answer in time: the thread
    /// then ends when librdkafka gives up.
    pub(super) fn finish(self, shared: &Shared, deadline: Instant) -> bool {
        // One may be on its way, and more may have been settled since it left.
        for _ in 0..2 {
            self.commit(shared);
            while self.is_busy() {
                let left = deadline.saturating_duration_since(Instant::now());
                if left == Duration::ZERO {
                    return false;
                }
                thread::park_timeout(left.min(Duration::from_millis(20)));
            }
        }
        drop(self.jobs);
        let _ = self.thread.join();
        true
    }
}

/// Commits, waits for the answer and passes it on.
pub(super) fn commit(consumer: &BaseConsumer<Assigner>, shared: &Shared, pending: Vec<Pending>) {
    let result = consumer.commit(&to_list(&pending), CommitMode::Sync);
    match &result {
        Ok(()) => shared.trouble.clear(),
        Err(kafka) => tracing::debug!(%kafka, "a commit failed; it is tried again"),
    }
    let mut desk = shared.desk();
    for pending in pending {
        desk.partitions.committed(pending, result.is_ok());
    }
}

fn to_list(pending: &[Pending]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(pending.len());
    for Pending { topic, number, commit, .. } in pending {
        let mut element = list.add_partition(topic.as_str(), *number);
        // Offsets are not negative, so this cannot fail.
        let _ = element.set_offset(Offset::Offset(commit.offset));
        if !commit.text.text.is_empty() {
            element.set_metadata(&commit.text.text);
        }
    }
    list
}
