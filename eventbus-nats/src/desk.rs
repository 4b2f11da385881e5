//! The desk of a source: what was delivered and is not settled.
//!
//! The task of the source puts messages here, the subscription takes them, and settlements
//! take them away. Each message has a token, good for one hand-out: a message that is handed
//! out again gets another one.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use async_nats::Subject;
use bytes::Bytes;
use eventbus_core::{
    Ordering, SubscribeOptions, Topic,
    backend::{Content, Incoming, SourceError, Token},
};
use futures_util::{FutureExt, task::AtomicWaker};
use tokio::sync::Notify;

use crate::{connection::Connection, per_key::Gate, provision::nanos, slab::Slab};

/// Settles a message.
pub(crate) const ACK: &[u8] = b"+ACK";
/// Restarts the `ack_wait` of a message.
pub(crate) const IN_PROGRESS: &[u8] = b"+WPI";

pub(crate) fn nack(delay: Duration) -> Bytes {
    if delay.is_zero() {
        return Bytes::from_static(b"-NAK");
    }
    format!("-NAK {{\"delay\":{}}}", nanos(delay)).into()
}

pub(crate) struct Desk {
    /// For what outlives a call.
    pub(crate) me: Weak<Self>,
    state: Mutex<State>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) ack_wait: Duration,
    pub(crate) max_in_flight: usize,
    /// One message of a key at a time.
    pub(crate) per_key: bool,
    pub(crate) cumulative: bool,
    reader: AtomicWaker,
    /// Wakes the task of the source.
    pub(crate) task: Notify,
}

pub(crate) struct State {
    pub(crate) messages: Slab<Held>,
    ready: VecDeque<u64>,
    /// What waits for its redelivery here, the next one first.
    delayed: BTreeSet<(Instant, u64)>,
    pub(crate) gate: Gate,
    /// Handed out and not settled.
    pub(crate) out: usize,
    /// What was handed out and comes again from the server, by consumer and sequence, and
    /// whether because it expired.
    pub(crate) owed: HashMap<(usize, u64), bool>,
    troubles: VecDeque<SourceError>,
    /// How many messages the pull requests at the server may still bring.
    pub(crate) requested: usize,
    /// The task was told already that there is room.
    pub(crate) room_told: bool,
    pub(crate) stopped: bool,
    /// What is still to be said about messages that nobody will get here any more.
    pub(crate) given_back: Vec<(Subject, Bytes)>,
    ended: bool,
    stalled_since: Option<Instant>,
    pub(crate) problem: Option<String>,
}

/// A message that was delivered and is not settled.
pub(crate) struct Held {
    /// Which of the source's consumers delivered it.
    pub(crate) consumer: usize,
    /// Which incarnation of that consumer.
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) reply: Subject,
    pub(crate) topic: Topic,
    pub(crate) content: Content,
    pub(crate) attempt: u32,
    pub(crate) published_at: SystemTime,
    /// When the server last started its `ack_wait`.
    pub(crate) touched: Instant,
    pub(crate) key: Option<u64>,
    pub(crate) expired_before: bool,
    pub(crate) unreadable: bool,
    pub(crate) status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// To be handed out next.
    Ready,
    /// Behind another message of its key.
    Behind,
    /// Waits for its redelivery here.
    Delayed(Instant),
    /// With the application.
    Out {
        expires: Instant,
        /// It was dropped there without being settled.
        abandoned: bool,
    },
}

impl Held {
    pub(crate) const fn is_out(&self) -> bool {
        matches!(self.status, Status::Out { .. })
    }

    /// Gives it back, after the delay that the application asked for if there is one.
    fn into_nack(self) -> (Subject, Bytes) {
        let delay = match self.status {
            Status::Delayed(due) => due.saturating_duration_since(Instant::now()),
            _ => Duration::ZERO,
        };
        (self.reply, nack(delay))
    }
}

impl Desk {
    pub(crate) fn new(connection: Arc<Connection>, options: &SubscribeOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            state: Mutex::new(State {
                messages: Slab::new(),
                ready: VecDeque::new(),
                delayed: BTreeSet::new(),
                gate: Gate::default(),
                out: 0,
                owed: HashMap::new(),
                troubles: VecDeque::new(),
                requested: 0,
                room_told: false,
                stopped: false,
                given_back: Vec::new(),
                ended: false,
                stalled_since: None,
                problem: None,
            }),
            connection,
            ack_wait: options.ack_wait,
            max_in_flight: options.max_in_flight,
            per_key: options.ordering == Ordering::PerKey,
            cumulative: options.cumulative,
            reader: AtomicWaker::new(),
            task: Notify::new(),
        })
    }

    /// Whether its redelivery happens here, not at the server: where a key must not move on before
    /// its turn, and where the client cannot read what the server would deliver.
    pub(crate) const fn stays_here(&self, held: &Held) -> bool {
        self.per_key || held.unreadable
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake_reader(&self) {
        self.reader.wake();
    }

    /// Says something about a message to the server if that is possible at once.
    pub(crate) fn tell(&self, reply: &Subject, word: &'static [u8]) -> bool {
        let Some(link) = self.connection.link() else { return false };
        let word = Bytes::from_static(word);
        matches!(link.client.publish(reply.clone(), word).now_or_never(), Some(Ok(())))
    }

    /// Hands out the next message.
    pub(crate) fn poll_next(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Incoming, SourceError>>> {
        self.reader.register(cx.waker());
        let mut state = self.lock();
        if let Some(trouble) = state.troubles.pop_front() {
            return Poll::Ready(Some(Err(trouble)));
        }
        if state.stopped || state.ended {
            return Poll::Ready(None);
        }
        if state.out < self.max_in_flight
            && let Some(incoming) = self.hand_out(&mut state)
        {
            return Poll::Ready(Some(Ok(incoming)));
        }
        if state.messages.len() >= self.max_in_flight {
            state.stalled_since.get_or_insert_with(Instant::now);
        }
        Poll::Pending
    }

    fn hand_out(&self, state: &mut State) -> Option<Incoming> {
        loop {
            let token = state.ready.pop_front()?;
            let Some(held) = state.messages.get_mut(token) else { continue };
            let now = Instant::now();
            // It may have waited here for a part of its `ack_wait`.
            if now.duration_since(held.touched) > self.ack_wait / 4
                && self.tell(&held.reply, IN_PROGRESS)
            {
                held.touched = now;
            }
            let stays_here = self.stays_here(held);
            let base = if stays_here { now } else { held.touched };
            let expires = base + self.ack_wait;
            held.status = Status::Out { expires, abandoned: false };
            let content = if stays_here {
                held.content.clone()
            } else {
                std::mem::replace(&mut held.content, Content::Encoded(Bytes::new()))
            };
            let mut incoming =
                Incoming::new(held.topic.clone(), content, held.sequence, Token(token), expires);
            incoming.attempt = held.attempt;
            incoming.published_at = held.published_at;
            incoming.expired_before = held.expired_before;
            state.out += 1;
            return Some(incoming);
        }
    }

    /// Room has become free: the task may pull again.
    pub(crate) fn freed(&self, state: &mut State) {
        state.stalled_since = None;
        let free = self.max_in_flight.saturating_sub(state.messages.len() + state.requested);
        let worth = free >= (self.max_in_flight / 4).max(1) || state.requested == 0;
        if worth && !state.room_told {
            state.room_told = true;
            self.task.notify_one();
        }
        // One that was over the limit may be handed out now.
        if !state.ready.is_empty() && state.out + 1 == self.max_in_flight {
            self.reader.wake();
        }
    }

    /// Stops handing out. What was not handed out is given back by the task.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.stopped, true) {
            state.ready.clear();
            state.delayed.clear();
            state.gate.clear();
            // With per-key order nothing that is left may come after its successors.
            let left = |held: &Held| match held.status {
                Status::Out { abandoned, .. } => abandoned && self.per_key,
                _ => true,
            };
            let unseen = state.messages.take(left);
            state.out = state.messages.iter().filter(|(_, held)| held.is_out()).count();
            state.given_back.extend(unseen.into_iter().map(Held::into_nack));
        }
        drop(state);
        self.reader.wake();
        self.task.notify_one();
    }

    /// Ends the stream with an error.
    pub(crate) fn fail(&self, error: eventbus_core::Error) {
        let mut state = self.lock();
        state.troubles.push_back(SourceError::Terminal(error));
        state.ended = true;
        drop(state);
        self.reader.wake();
    }

    pub(crate) fn truncated(&self, error: eventbus_core::Error) {
        self.lock().troubles.push_back(SourceError::Truncated(error));
        self.reader.wake();
    }

    /// Whether the task has nothing more to bring.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.stopped || state.ended
    }

    /// A message came that is not for the application.
    pub(crate) fn passed_over(&self) {
        let mut state = self.lock();
        state.requested = state.requested.saturating_sub(1);
    }

    /// The lowest sequence of a consumer that is not settled.
    pub(crate) fn lowest_unsettled(&self, consumer: usize) -> Option<u64> {
        let state = self.lock();
        let here = state.messages.iter().filter(|(_, held)| held.consumer == consumer);
        let here = here.map(|(_, held)| held.sequence);
        let owed = state.owed.keys().filter(|(owner, _)| *owner == consumer);
        here.chain(owed.map(|(_, sequence)| *sequence)).min()
    }

    /// What is here of a consumer.
    pub(crate) fn sequences_of(&self, consumer: usize) -> HashSet<u64> {
        let state = self.lock();
        let here = state.messages.iter().filter(|(_, held)| held.consumer == consumer);
        here.map(|(_, held)| held.sequence).collect()
    }

    /// When the next message that waits for its redelivery here is to come again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.lock().next_due()
    }

    /// Makes what is due come again.
    pub(crate) fn release_due(&self) {
        if self.lock().release_due(Instant::now()) {
            self.wake_reader();
        }
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        self.lock().problem = problem;
    }

    pub(crate) fn fill(&self, health: &mut eventbus_core::SubscriptionHealth) {
        let state = self.lock();
        health.in_flight = state.out;
        health.stalled = state.stalled_since.map(|since| since.elapsed());
        health.problem.clone_from(&state.problem);
    }
}

impl State {
    /// Puts a message at its place: handed out next, or behind its key.
    pub(crate) fn insert(&mut self, held: Held) {
        let key = held.key;
        let token = self.messages.insert(held);
        if key.is_none_or(|key| self.gate.enter(key, token)) {
            self.ready.push_back(token);
        } else if let Some(held) = self.messages.get_mut(token) {
            held.status = Status::Behind;
        }
    }

    /// Puts a message that has its turn already back to the ones that are handed out next.
    pub(crate) fn again(&mut self, held: Held) {
        let token = self.messages.insert(Held { status: Status::Ready, ..held });
        self.ready.push_back(token);
    }

    /// Keeps a message, which keeps its turn, until its redelivery.
    pub(crate) fn delay(&mut self, held: Held, due: Instant) {
        let token = self.messages.insert(Held { status: Status::Delayed(due), ..held });
        self.delayed.insert((due, token));
    }

    /// When the next one that waits here is to come again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Makes those come again that are to. True if there was one.
    pub(crate) fn release_due(&mut self, now: Instant) -> bool {
        let mut released = false;
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((_, token)) = self.delayed.pop_first() else { break };
            if let Some(held) = self.messages.remove(token) {
                self.again(held);
                released = true;
            }
        }
        released
    }

    /// A message is gone: the next one of its key has its turn. True if there is one.
    pub(crate) fn next_of(&mut self, key: Option<u64>) -> bool {
        let Some(next) = key.and_then(|key| self.gate.leave(key)) else { return false };
        if let Some(held) = self.messages.get_mut(next) {
            held.status = Status::Ready;
            self.ready.push_back(next);
        }
        true
    }
}
