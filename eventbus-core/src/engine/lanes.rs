//! The retry queue: one lane per key.
//!
//! Entries of a key are pipelined. When one comes back for a retry, its successors wait
//! behind it. It is sent again only if nothing newer of its key was stored meanwhile,
//! because a retry would then invert the order: it fails instead, and leaves a gap. While a
//! lane recovers, its entries are sent one at a time.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::{Error, PublishOptions, RetryPolicy, backend::EntryId};

/// Even a policy with pauses of zero or of centuries leaves the timer in working order.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(86_400));

/// What an entry needs to be retried.
pub(super) struct Retry {
    pub(super) policy: RetryPolicy,
    /// What the publisher asked for, of every send.
    pub(super) options: PublishOptions,
    /// Topic and key, hashed; a collision merely makes two keys wait for each other.
    lane: u64,
    sequence: u64,
    /// Why it was handed back last.
    pub(super) error: Option<Error>,
}

impl Retry {
    pub(super) fn new(policy: RetryPolicy, options: PublishOptions, lane: u64) -> Self {
        Self { policy, options, lane, sequence: 0, error: None }
    }
}

/// An entry that is to be sent when its turn comes.
struct Waiting {
    sequence: u64,
    id: EntryId,
    policy: RetryPolicy,
    /// Sent before and handed back.
    again: bool,
}

#[derive(Default)]
struct Lane {
    /// Sent, without a verdict.
    outstanding: usize,
    /// Handed back or not sent yet, in order.
    waiting: VecDeque<Waiting>,
    newest_stored: u64,
    /// The first waiting entry is being sent alone, and until none waits all the others will be.
    recovering: bool,
    failing_since: Option<Instant>,
    backoff: Option<Duration>,
    due: Option<Instant>,
}

/// What is to be done after an event in a lane.
#[derive(Default)]
pub(super) struct LaneWork {
    /// To be reported: overtaken by a stored successor, or given up.
    pub(super) failed: Vec<EntryId>,
    /// Whether the timer must look at the due lanes again.
    pub(super) rescheduled: bool,
}

#[derive(Default)]
pub(super) struct Lanes {
    lanes: HashMap<u64, Lane>,
    due: BTreeSet<(Instant, u64)>,
    next_sequence: u64,
}

impl Lanes {
    /// Gives an entry its place. False when it has to wait behind others.
    pub(super) fn enter(&mut self, retry: &mut Retry, id: EntryId) -> bool {
        self.next_sequence += 1;
        retry.sequence = self.next_sequence;
        let lane = self.lanes.entry(retry.lane).or_default();
        if lane.recovering || !lane.waiting.is_empty() {
            lane.waiting.push_back(Waiting {
                sequence: retry.sequence,
                id,
                policy: retry.policy,
                again: false,
            });
            return false;
        }
        lane.outstanding += 1;
        true
    }

    /// Whether an entry would have to wait behind others.
    pub(super) fn holds_up(&self, retry: &Retry) -> bool {
        let lane = self.lanes.get(&retry.lane);
        lane.is_some_and(|lane| lane.recovering || !lane.waiting.is_empty())
    }

    /// An entry has its verdict.
    pub(super) fn leave(&mut self, retry: &Retry, stored: bool) -> LaneWork {
        let Some(lane) = self.lanes.get_mut(&retry.lane) else {
            return LaneWork::default();
        };
        if let Ok(at) = lane.waiting.binary_search_by_key(&retry.sequence, |w| w.sequence) {
            lane.waiting.remove(at);
            return self.tidy(retry.lane);
        }
        lane.outstanding -= 1;
        if stored {
            lane.newest_stored = lane.newest_stored.max(retry.sequence);
        }
        if lane.recovering {
            lane.failing_since = None;
            lane.backoff = None;
            if lane.waiting.is_empty() {
                lane.recovering = false;
            } else {
                return self.schedule(retry.lane, Instant::now());
            }
        }
        self.after_outstanding(retry.lane)
    }

    /// An entry was handed back.
    pub(super) fn park(&mut self, retry: &Retry, id: EntryId) -> LaneWork {
        let Some(lane) = self.lanes.get_mut(&retry.lane) else {
            return LaneWork::default();
        };
        lane.outstanding -= 1;
        lane.failing_since.get_or_insert_with(Instant::now);
        let at = lane.waiting.partition_point(|w| w.sequence < retry.sequence);
        lane.waiting.insert(
            at,
            Waiting { sequence: retry.sequence, id, policy: retry.policy, again: true },
        );
        self.after_outstanding(retry.lane)
    }

    /// Once nothing of the lane is out, what waits can be judged and scheduled.
    fn after_outstanding(&mut self, key: u64) -> LaneWork {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return LaneWork::default();
        };
        if lane.outstanding > 0 {
            return LaneWork::default();
        }
        let newest = lane.newest_stored;
        let overtaken = lane.waiting.iter().take_while(|w| w.sequence < newest).count();
        let mut failed: Vec<_> = lane.waiting.drain(..overtaken).map(|w| w.id).collect();
        let Some(first) = lane.waiting.front() else {
            return LaneWork { failed, ..self.tidy(key) };
        };
        let now = Instant::now();
        if !first.again {
            lane.failing_since = None;
            lane.backoff = None;
            return LaneWork { failed, ..self.schedule(key, now) };
        }
        let policy = first.policy;
        let pause = match lane.backoff {
            None => policy.backoff,
            Some(last) => last.saturating_mul(2).min(policy.max_backoff),
        }
        .clamp(PAUSES.0, PAUSES.1);
        lane.backoff = Some(pause);
        if lane.failing_since.is_some_and(|since| (now - since) + pause > policy.max_elapsed) {
            failed.extend(lane.waiting.drain(..).map(|w| w.id));
            lane.recovering = false;
            return LaneWork { failed, ..self.tidy(key) };
        }
        LaneWork { failed, ..self.schedule(key, now + pause) }
    }

    fn schedule(&mut self, key: u64, at: Instant) -> LaneWork {
        if let Some(lane) = self.lanes.get_mut(&key) {
            if let Some(old) = lane.due.replace(at) {
                self.due.remove(&(old, key));
            }
            lane.recovering = true;
            self.due.insert((at, key));
        }
        LaneWork { failed: Vec::new(), rescheduled: true }
    }

    /// Forgets a lane in which nothing happens any more.
    fn tidy(&mut self, key: u64) -> LaneWork {
        if let Some(lane) = self.lanes.get_mut(&key)
            && lane.waiting.is_empty()
        {
            if let Some(due) = lane.due.take() {
                self.due.remove(&(due, key));
                lane.recovering = false;
            }
            if lane.outstanding == 0 {
                self.lanes.remove(&key);
            }
        }
        LaneWork::default()
    }

    /// When the next lane wants to send.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first entry of a lane that is due, to be sent alone.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<EntryId> {
        while let Some(&(at, key)) = self.due.first() {
            if at > now {
                return None;
            }
            self.due.pop_first();
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.due = None;
                if let Some(Waiting { id, .. }) = lane.waiting.pop_front() {
                    lane.outstanding += 1;
                    return Some(id);
                }
            }
        }
        None
    }
}
