//! The partitions of a subscription, what is settled in them, and who waits for a commit.

use eventbus_core::{Error, Topic};
use tokio::sync::oneshot;

use super::closed;
use crate::consumer::{
    offsets::Progress,
    tracker::{Commit, Tracker},
};

/// Who waits until an offset is committed.
type Waiter = (i64, oneshot::Sender<Result<(), Error>>);

/// Names a partition while it is assigned.
pub(crate) type PartitionId = usize;

struct Partition {
    topic: Topic,
    number: i32,
    tracker: Tracker,
    /// Those whose offset is in no commit yet.
    waiting: Vec<Waiter>,
    /// The last commit has no answer yet, and may fail when the partition is somebody else's already.
    unanswered: bool,
}

impl Partition {
    fn refuse_waiting(&mut self) {
        for (_, waiter) in self.waiting.drain(..) {
            let _ = waiter.send(Err(unconfirmed()));
        }
    }
}

#[derive(Default)]
pub(crate) struct Partitions {
    all: Vec<Option<Partition>>,
    /// Whether there is a group whose offsets are committed.
    pub(crate) commits: bool,
    /// Some tracker has something to commit.
    dirty: bool,
    /// Something was handed out, which counts as an attempt.
    handed_out: bool,
    /// Settled messages that did not fit into the last commits.
    pub(crate) left_out: u64,
    /// Nothing is committed any more.
    ended: bool,
}

/// A commit of one partition on its way to the broker.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) topic: Topic,
    pub(crate) number: i32,
    pub(crate) commit: Commit,
    /// Their offsets were settled when the commit was made.
    waiting: Vec<Waiter>,
}

impl Partitions {
    pub(crate) fn add(
        &mut self,
        topic: Topic,
        number: i32,
        start: Option<i64>,
        progress: Progress,
    ) -> PartitionId {
        let tracker = Tracker::new(start, progress);
        let partition =
            Partition { topic, number, tracker, waiting: Vec::new(), unanswered: false };
        let free = self.all.iter().position(Option::is_none);
        let id = free.unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        self.all[id] = Some(partition);
        id
    }

    pub(crate) fn find(&self, topic: &str, number: i32) -> Option<PartitionId> {
        self.all.iter().position(|partition| {
            partition.as_ref().is_some_and(|p| p.number == number && p.topic.as_str() == topic)
        })
    }

    pub(crate) fn remove(&mut self, id: PartitionId) {
        if let Some(mut partition) = self.all.get_mut(id).and_then(Option::take) {
            partition.refuse_waiting();
        }
    }

    fn get(&self, id: PartitionId) -> Option<&Partition> {
        self.all.get(id).and_then(Option::as_ref)
    }

    fn get_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.all.get_mut(id).and_then(Option::as_mut)
    }

    /// The topic of a partition that is assigned: messages of others are gone.
    pub(super) fn topic(&self, id: PartitionId) -> &Topic {
        const NOWHERE: &Topic = &Topic::from_static("unassigned");
        self.get(id).map_or(NOWHERE, |partition| &partition.topic)
    }

    pub(super) fn number(&self, id: PartitionId) -> u32 {
        self.get(id).map_or(0, |partition| u32::try_from(partition.number).unwrap_or_default())
    }

    /// Notes a fetched message; the attempt that its delivery is, unless it is settled.
    pub(super) fn fetch(&mut self, id: PartitionId, offset: i64) -> Option<u32> {
        self.get_mut(id)?.tracker.fetch(offset)
    }

    pub(crate) fn next(&self, id: PartitionId) -> Option<i64> {
        self.get(id)?.tracker.next()
    }

    /// Goes on at another offset, which may lie before: then nobody is told that what was
    /// settled until now is committed.
    pub(super) fn restart_at(&mut self, id: PartitionId, offset: i64) {
        if let Some(partition) = self.get_mut(id) {
            if partition.tracker.next().is_some_and(|next| offset < next) {
                partition.refuse_waiting();
            }
            partition.tracker.restart_at(offset);
            self.dirty = true;
        }
    }

    /// Whether this is the first thing to commit since the last commit.
    pub(super) fn settle(&mut self, id: PartitionId, offset: i64) -> bool {
        if let Some(partition) = self.get_mut(id) {
            partition.tracker.settle(offset);
        }
        self.becomes_dirty()
    }

    pub(super) fn attempt(&mut self, id: PartitionId, offset: i64, attempt: u32) -> bool {
        if let Some(partition) = self.get_mut(id) {
            partition.tracker.attempt(offset, attempt);
        }
        self.becomes_dirty()
    }

    pub(super) fn hand_out(&mut self, id: PartitionId) {
        if let Some(partition) = self.get_mut(id) {
            partition.tracker.dirty = true;
            self.handed_out = true;
        }
    }

    fn becomes_dirty(&mut self) -> bool {
        self.commits && !std::mem::replace(&mut self.dirty, true)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.commits && (self.dirty || self.handed_out)
    }

    /// Resolves when an offset is committed.
    pub(crate) fn confirmation(
        &mut self,
        id: PartitionId,
        offset: i64,
    ) -> oneshot::Receiver<Result<(), Error>> {
        let (waiter, confirmation) = oneshot::channel();
        let ended = self.ended;
        match self.get_mut(id) {
            Some(_) if ended => drop(waiter.send(Err(closed().ambiguous()))),
            Some(partition) => partition.waiting.push((offset, waiter)),
            None => drop(waiter.send(Err(unconfirmed()))),
        }
        self.dirty = true;
        confirmation
    }

    /// Somebody waits for a commit.
    pub(crate) fn is_urgent(&self) -> bool {
        self.all.iter().flatten().any(|partition| !partition.waiting.is_empty())
    }

    /// What is to be committed now, for the chosen partitions. `held` gives for a partition what
    /// is handed out: offsets and the attempts that come next.
    pub(super) fn commits(
        &mut self,
        chosen: impl Fn(&str, i32) -> bool,
        held: impl Fn(PartitionId) -> Vec<(i64, u32)>,
    ) -> Vec<Pending> {
        if !self.commits {
            return Vec::new();
        }
        let mut pending = Vec::new();
        self.left_out = 0;
        for (id, partition) in self.all.iter_mut().enumerate() {
            let Some(partition) = partition else { continue };
            let wanted =
                partition.tracker.dirty || !partition.waiting.is_empty() || partition.unanswered;
            if !wanted || !chosen(partition.topic.as_str(), partition.number) {
                continue;
            }
            let Some(commit) = partition.tracker.commit(&held(id)) else { continue };
            partition.tracker.dirty = false;
            partition.unanswered = true;
            self.left_out += commit.text.left_out;
            let (topic, number) = (partition.topic.clone(), partition.number);
            let waiting = std::mem::take(&mut partition.waiting);
            pending.push(Pending { topic, number, commit, waiting });
        }
        self.dirty = self.all.iter().flatten().any(|partition| partition.tracker.dirty);
        self.handed_out = false;
        pending
    }

    /// The broker has answered to a commit.
    pub(crate) fn committed(&mut self, done: Pending, stored: bool) {
        let (ended, found) = (self.ended, self.find(done.topic.as_str(), done.number));
        let Some(partition) = found.and_then(|id| self.get_mut(id)) else {
            return done
                .waiting
                .into_iter()
                .for_each(|(_, waiter)| drop(waiter.send(Err(unconfirmed()))));
        };
        partition.unanswered = false;
        let covers = |offset: i64| offset < done.commit.offset || offset < done.commit.text.covered;
        for (offset, waiter) in done.waiting {
            if stored && covers(offset) {
                let _ = waiter.send(Ok(()));
            } else if ended {
                let _ = waiter.send(Err(closed().ambiguous()));
            } else {
                partition.waiting.push((offset, waiter));
            }
        }
        if !stored {
            partition.tracker.dirty = true;
            self.dirty = true;
        }
    }

    /// Nothing is committed any more. A commit on its way may still get its answer.
    pub(super) fn end(&mut self) {
        self.ended = true;
        for partition in self.all.iter_mut().flatten() {
            for (_, waiter) in partition.waiting.drain(..) {
                let _ = waiter.send(Err(closed().ambiguous()));
            }
        }
    }
}

/// A commit that has it may be on its way, or have arrived without an answer.
pub(crate) fn unconfirmed() -> Error {
    crate::error::error(
        eventbus_core::ErrorKind::Expired,
        "the partition moved to another member of the group before the acknowledgement was \
         confirmed; the message is delivered again unless it arrived all the same",
    )
    .ambiguous()
}
