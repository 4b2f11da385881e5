//! The ring: envelopes on their way to the broker and their acknowledgements.
//!
//! Accepted envelopes wait in a queue, from which one task writes to the connection. What it
//! has written waits in a slab under a token, which is the last part of the reply subject; one
//! task matches the answers by it. No future, timer or inbox per message.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use async_nats::HeaderMap;
use bytes::Bytes;
use eventbus_core::{
    Envelope, Error, ErrorKind,
    backend::{EntryId, Outgoing, Stored, Verdicts},
};
use tokio::sync::Notify;

use crate::{
    error,
    fast::{Fast, Outcome},
    lanes::Lanes,
    message::{Message, Order, Route, Sent},
    raw,
    slab::Slab,
};

pub(crate) struct Ring {
    state: Mutex<State>,
    pub(crate) verdicts: Verdicts,
    pub(crate) strict: bool,
    pub(crate) ack_timeout: Duration,
    /// The header that holds the key in raw topics.
    key_header: Box<str>,
    /// Beyond this many unanswered messages, those that timed out are cleared away.
    crowded: usize,
    pub(crate) wake: Notify,
}

pub(crate) struct State {
    pub(crate) queue: VecDeque<Message>,
    pub(crate) sent: Slab<Sent>,
    pub(crate) lanes: Lanes,
    pub(crate) fast: Fast,
    /// The writer sleeps and wants to be woken.
    pub(crate) idle: bool,
    closed: bool,
}

impl Ring {
    pub(crate) fn new(
        verdicts: Verdicts,
        window: usize,
        ack_timeout: Duration,
        strict: bool,
        key_header: &str,
        fast: Fast,
    ) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                sent: Slab::new(),
                lanes: Lanes::default(),
                fast,
                idle: false,
                closed: false,
            }),
            verdicts,
            strict,
            ack_timeout,
            key_header: key_header.into(),
            crowded: 2 * window + 64,
            wake: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an envelope.
    pub(crate) fn send(&self, route: &Route, outgoing: Outgoing<'_>) {
        self.queue(self.message(route, outgoing));
    }

    pub(crate) fn queue(&self, message: Message) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            self.verdicts.complete(message.id, Err(error::closed()));
            return;
        }
        if let Some(message) = state.lanes.enter(message) {
            state.queue.push_back(message);
        }
        if std::mem::take(&mut state.idle) {
            drop(state);
            self.wake.notify_one();
        }
    }

    fn message(&self, route: &Route, outgoing: Outgoing<'_>) -> Message {
        let id = outgoing.envelope.id();
        let topic = &route.0.topic;
        let message_id = if outgoing.options.idempotent {
            // The stream holds other topics too, and the same envelope may go to several.
            Some(format!("{id}:{topic}").into_boxed_str())
        } else if self.strict {
            // Only a repetition by this transport is the same message.
            Some(format!("{id}:{topic}:{:x}", outgoing.entry.id().to_u64()).into_boxed_str())
        } else {
            None
        };
        let order = self.strict.then(|| Order {
            lane: outgoing.envelope.aggregate_id().map(|key| Lanes::of(topic, key)),
            first_sent: None,
            last_sent: None,
        });
        let (payload, headers) =
            self.content(route, outgoing.encoded, outgoing.envelope, outgoing.raw);
        Message {
            id: outgoing.entry.into_id(),
            route: route.clone(),
            payload,
            message_id,
            headers,
            order,
            idempotent: outgoing.options.idempotent,
            awaited: outgoing.awaited,
            atomic: None,
            written: None,
        }
    }

    /// What is written of an envelope, with the headers of a raw topic.
    pub(crate) fn content(
        &self,
        route: &Route,
        encoded: Bytes,
        envelope: &Envelope,
        raw: bool,
    ) -> (Bytes, Option<Box<HeaderMap>>) {
        if !raw {
            return (encoded, None);
        }
        let headers = raw::headers(envelope, &route.0.topic, &self.key_header);
        (envelope.payload().clone(), Some(Box::new(headers)))
    }

    /// Matches answers: each with the token of its message.
    pub(crate) fn answer(
        &self,
        answers: &mut Vec<(u64, Answer)>,
        link: u64,
        unanswerable: &mut Vec<Sent>,
        doubtful: &mut Vec<usize>,
    ) {
        let mut verdicts = Vec::with_capacity(answers.len());
        let mut released = false;
        {
            let mut state = self.lock();
            for (token, answer) in answers.drain(..) {
                // Most answers to an atomic batch are these, and it stays where it is.
                if matches!(answer, Answer::Staged)
                    && state.sent.get_mut(token).is_some_and(|sent| sent.batch.is_some())
                {
                    continue;
                }
                let Some(sent) = state.sent.remove(token) else { continue };
                let nobody = matches!(answer, Answer::NoResponders);
                let answer = answer.to(&sent);
                let answer = if sent.is_repeated() { answer.of_a_repetition() } else { answer };
                if matches!(answer, Answer::NotNow) {
                    // The first writing may still be stored, so its successors wait until
                    // one of the repetitions is answered, or the stream is gone.
                    if nobody {
                        doubtful.push(sent.route.0.stream);
                    }
                    state.sent.insert(sent);
                    continue;
                }
                released |= state.release(&sent);
                match answer {
                    Answer::Stored(stored) => {
                        sent.route.0.acknowledged_on.store(link, Ordering::Relaxed);
                        verdicts.push((sent.id, Ok(stored)));
                    }
                    Answer::Refused(error) => verdicts.push((sent.id, Err(error))),
                    Answer::NoResponders => unanswerable.push(sent),
                    Answer::Committed(..) | Answer::Staged | Answer::NotNow => {}
                }
            }
            released = released && std::mem::take(&mut state.idle);
        }
        if released {
            self.wake.notify_one();
        }
        self.report(verdicts);
    }

    /// What the server did not store although it may: the engine decides about a retry.
    pub(crate) fn report(&self, verdicts: Vec<(EntryId, Result<Stored, Error>)>) {
        let certain =
            |verdict: &Result<Stored, Error>| matches!(verdict, Err(error) if error.is_temporary());
        if !verdicts.iter().any(|(_, verdict)| certain(verdict)) {
            self.verdicts.complete_all(verdicts);
            return;
        }
        for (id, verdict) in verdicts {
            match verdict {
                Err(error) if error.is_temporary() => self.verdicts.retry(id, error),
                verdict => self.verdicts.complete(id, verdict),
            }
        }
    }

    /// A stream is gone: no repetition can be answered any more, and whether the first writing was
    /// stored will never be known.
    pub(crate) fn give_up_repetitions(&self, stream: usize, error: &Error) {
        let given_up = {
            let mut state = self.lock();
            let given_up =
                state.sent.take(|sent| sent.route.0.stream == stream && sent.is_repeated());
            for sent in &given_up {
                state.release(sent);
            }
            given_up
        };
        self.wake.notify_one();
        let unknown = || Err(error.clone().ambiguous());
        self.verdicts.complete_all(given_up.iter().map(|sent| (sent.id, unknown())));
    }

    /// The server forbids publishing to `subject`.
    pub(crate) fn deny(&self, subject: &str, link: u64, error: &Error) {
        let denied = {
            let mut state = self.lock();
            let denied = state.sent.take(|sent| sent.route.0.subject.as_str() == subject);
            for sent in &denied {
                state.release(sent);
            }
            denied
        };
        self.wake.notify_one();
        let verdict = |sent: &Sent| (sent.id, Err(sent.route.denied(error, link)));
        self.verdicts.complete_all(denied.iter().map(verdict));
        self.with_fast(link, |fast, outcome| fast.denied(subject, error, outcome));
    }

    /// Does something about the batches, and what follows from it. Gives what is left to do.
    pub(crate) fn with_fast(
        &self,
        link: u64,
        what: impl FnOnce(&mut Fast, &mut Outcome),
    ) -> Outcome {
        let mut outcome = Outcome { link, ..Outcome::default() };
        let wake = {
            let mut state = self.lock();
            what(&mut state.fast, &mut outcome);
            state.write_again(&mut outcome, &self.verdicts);
            std::mem::take(&mut state.idle)
        };
        if wake {
            self.wake.notify_one();
        }
        self.follow(outcome)
    }

    /// Tells the engine what came of it. Gives what is left to do.
    pub(crate) fn follow(&self, mut outcome: Outcome) -> Outcome {
        self.report(std::mem::take(&mut outcome.verdicts));
        for message in outcome.stuck.drain(..) {
            self.verdicts.retry(message.id, error::no_responders());
        }
        outcome
    }

    /// Forgets what has its verdict already, when there is a lot of it.
    pub(crate) fn clear_timed_out(&self, state: &mut State) {
        if state.sent.len() > self.crowded && !self.strict {
            state.sent.take(|sent| !self.verdicts.is_pending(sent.id));
        }
    }

    /// Hands back what was not written and cannot be at the moment.
    pub(crate) fn hand_back(&self, error: &Error) {
        let unsent: Vec<_> = {
            let mut state = self.lock();
            let waiting = state.lanes.drain_waiting();
            let (mut unsent, repeated): (Vec<_>, Vec<_>) =
                state.queue.drain(..).partition(Message::is_fresh);
            state.queue.extend(repeated);
            for message in &unsent {
                state.lanes.leave(message);
            }
            unsent.extend(waiting);
            unsent.splice(0..0, state.fast.drain_held());
            unsent
        };
        for message in unsent {
            self.verdicts.retry(message.id, error.clone());
        }
    }

    /// Refuses what comes, and fails what was not written.
    pub(crate) fn close(&self) {
        let queued: Vec<_> = {
            let mut state = self.lock();
            state.closed = true;
            let mut queued = state.fast.drain_held();
            queued.extend(state.queue.drain(..));
            queued.extend(state.lanes.drain_waiting());
            queued
        };
        let closed = |message: &Message| {
            let error = error::error(ErrorKind::Closed, "the bus was closed before it was sent");
            if message.is_fresh() { error } else { error.ambiguous() }
        };
        self.verdicts.complete_all(queued.iter().map(|m| (m.id, Err(closed(m)))));
    }
}

impl State {
    /// Puts what is to be written again before all that waits, but for what has its verdict.
    pub(crate) fn write_again(&mut self, outcome: &mut Outcome, verdicts: &Verdicts) {
        while let Some(message) = outcome.again.pop_back() {
            if message.written.is_some() || verdicts.is_pending(message.id) {
                self.queue.push_front(message);
            }
        }
    }

    /// A message of a lane has its answer: the next one may be written. True if there is one.
    pub(crate) fn release(&mut self, sent: &Sent) -> bool {
        let lane = sent.kept.as_ref().and_then(|kept| kept.order.lane);
        let next = lane.and_then(|lane| self.lanes.next(lane));
        let found = next.is_some();
        self.queue.extend(next);
        found
    }
}

/// What the server said about a message.
pub(crate) enum Answer {
    Stored(Stored),
    /// An atomic batch of so many messages is stored, the last one there.
    Committed(u64, u32),
    /// A message of an atomic batch waits for the last one.
    Staged,
    Refused(Error),
    /// No stream takes this subject at the moment.
    NoResponders,
    /// A repetition was not stored, and may be a later time.
    NotNow,
}

impl Answer {
    /// What it means for what it answers.
    fn to(self, sent: &Sent) -> Self {
        match (self, sent.batch) {
            (Self::Committed(last, count), Some(sent)) if sent == count => {
                Self::Stored(Stored::at(0, Some(last + 1 - u64::from(count))))
            }
            (Self::Stored(_), Some(_)) | (Self::Committed(..) | Self::Staged, _) => {
                Self::Refused(error::unreadable_ack())
            }
            (answer, _) => answer,
        }
    }

    /// A repetition that was not stored says nothing about the first writing.
    fn of_a_repetition(self) -> Self {
        match self {
            Self::NoResponders => Self::NotNow,
            Self::Refused(error) if error.is_temporary() => Self::NotNow,
            Self::Refused(error) => Self::Refused(error.ambiguous()),
            answer => answer,
        }
    }
}
