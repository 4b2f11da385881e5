//! One batch, from its first message to the answer to its end.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use async_nats::Subject;
use eventbus_core::{
    Error,
    backend::{EntryId, Stored},
};

use super::{Operation, To};
use crate::{
    error,
    message::{Message, Route, Sent},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first message is out, and nothing else until the server has answered it: only so
    /// can a batch that the server reads after the connection is lost be nothing but that one.
    Starting,
    Open,
    /// Its end was asked for, or the server ends it by itself: nothing is written until it says
    /// where.
    Ending,
}

/// What follows from an answer.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The link over which it came.
    pub(crate) link: u64,
    pub(crate) verdicts: Vec<(EntryId, Result<Stored, Error>)>,
    /// Certainly not stored, and to be written before all that waits.
    pub(crate) again: VecDeque<Message>,
    /// Has waited for too long.
    pub(crate) stuck: Vec<Message>,
    /// The streams of batches that nobody answers for.
    pub(crate) doubtful: Vec<usize>,
    /// Nobody took these.
    pub(crate) unanswerable: Vec<Sent>,
}

pub(super) struct Batch {
    pub(super) number: u64,
    /// The reply subject before the sequence.
    reply: Arc<str>,
    /// That of the first message: to the stream, also for what has no message.
    pub(super) route: Route,
    started: Instant,
    pub(super) phase: Phase,
    /// The server has said that it knows the batch.
    pub(super) begun: bool,
    /// Somebody waits: it is to end with what is queued.
    pub(super) due: bool,
    /// When silence ends it, or its end is asked for again.
    pub(super) act_at: Instant,
    /// Since when nothing can be written, because an answer is waited for.
    pub(super) waiting_since: Option<Instant>,
    /// The sequence of the first unanswered one.
    first: u64,
    unanswered: VecDeque<Message>,
    refused: Option<(u64, Error)>,
    /// From this one on nothing was taken.
    not_taken: u64,
}

impl Batch {
    pub(super) fn new(number: u64, reply: Arc<str>, route: Route, now: Instant) -> Self {
        Self {
            number,
            reply,
            route,
            started: now,
            phase: Phase::Starting,
            begun: false,
            due: false,
            act_at: now,
            waiting_since: Some(now),
            first: 1,
            unanswered: VecDeque::new(),
            refused: None,
            not_taken: u64::MAX,
        }
    }

    /// The sequence that the next message gets.
    fn next(&self) -> u64 {
        self.first + self.unanswered.len() as u64
    }

    /// Adds a message. `last` ends the batch with it.
    pub(super) fn add(&mut self, message: Message, last: bool) -> To {
        let sequence = self.next();
        let operation = match (last, sequence) {
            (true, _) => Operation::Commit,
            (false, 1) => Operation::Start,
            (false, _) => Operation::Append,
        };
        self.unanswered.push_back(message);
        self.to(sequence, operation)
    }

    /// Ends it without a message.
    pub(super) fn end(&mut self) -> (To, Subject) {
        (self.to(self.next(), Operation::End), self.route.0.subject.clone())
    }

    fn to(&self, sequence: u64, operation: Operation) -> To {
        To::Batch { number: self.number, reply: self.reply.clone(), sequence, operation }
    }

    /// The server knows it: more can be written.
    pub(super) fn opened(&mut self, act_at: Instant) {
        self.phase = Phase::Open;
        self.waiting_since = None;
        self.act_at = act_at;
    }

    pub(super) fn ending(&mut self, now: Instant, act_at: Instant) {
        self.phase = Phase::Ending;
        self.waiting_since.get_or_insert(now);
        self.act_at = act_at;
    }

    /// All up to `sequence` are stored.
    pub(super) fn stored(&mut self, sequence: u64, outcome: &mut Outcome) {
        while self.first <= sequence {
            let Some(message) = self.unanswered.pop_front() else { return };
            self.first += 1;
            message.route.0.acknowledged_on.store(outcome.link, Ordering::Relaxed);
            outcome.verdicts.push((message.id, Ok(Stored::at(0, None))));
        }
    }

    pub(super) fn refuse(&mut self, sequence: u64, error: Error) {
        if self.refused.as_ref().is_none_or(|(known, _)| sequence < *known) {
            self.refused = Some((sequence, error));
        }
    }

    pub(super) fn not_taken(&mut self, sequence: u64) {
        self.not_taken = self.not_taken.min(sequence);
    }

    /// The server has ended it: the first `count` are stored and none behind them.
    pub(super) fn ended(mut self, count: u64, last: Stored, outcome: &mut Outcome) {
        self.stored(count.saturating_sub(1), outcome);
        if self.first == count
            && let Some(message) = self.unanswered.pop_front()
        {
            self.first += 1;
            message.route.0.acknowledged_on.store(outcome.link, Ordering::Relaxed);
            let duplicate = last.duplicate && message.idempotent;
            let stored = Stored::at(0, last.offset);
            let stored = if duplicate { stored.duplicate() } else { stored };
            outcome.verdicts.push((message.id, Ok(stored)));
        }
        self.not_taken(count + 1);
        self.dissolve(&error::connection_lost(), outcome);
    }

    /// The server does not know it any more.
    pub(super) fn forgotten(self, outcome: &mut Outcome) {
        self.dissolve(&error::batch_forgotten(), outcome);
    }

    /// Its first message has no answer. It is written again for as long as the stream certainly
    /// recognises it, also when its publisher was told: only then nothing comes of the first
    /// writing if the server reads that later.
    pub(super) fn unanswered(mut self, outcome: &mut Outcome) {
        if let Some(message) = self.unanswered.front_mut() {
            let first = *message.written.get_or_insert(self.started);
            if message.route.recognises(first) {
                self.not_taken(1);
            }
        }
        self.dissolve(&error::connection_lost(), outcome);
    }

    /// Publishing to `subject` is forbidden, so it could not even be asked for its end.
    pub(super) fn denied(self, subject: &str, error: &Error, outcome: &mut Outcome) {
        for message in self.unanswered {
            let denied = message.route.0.subject.as_str() == subject;
            let error = if denied {
                message.route.denied(error, outcome.link)
            } else {
                error::batch_forgotten()
            };
            outcome.verdicts.push((message.id, Err(error)));
        }
    }

    /// Nothing more will be said: what was not taken for certain is written again, what was
    /// refused fails, and of the rest it is `unknown` what became of it.
    fn dissolve(self, unknown: &Error, outcome: &mut Outcome) {
        for (sequence, message) in (self.first..).zip(self.unanswered) {
            match &self.refused {
                Some((refused, error)) if *refused == sequence => {
                    let error = error.clone();
                    let error = if message.written.is_some() { error.ambiguous() } else { error };
                    outcome.verdicts.push((message.id, Err(error)));
                }
                _ if sequence < self.not_taken => {
                    outcome.verdicts.push((message.id, Err(unknown.clone())));
                }
                _ => outcome.again.push_back(message),
            }
        }
    }

    /// The first that has no answer.
    pub(super) fn first(&self) -> Option<EntryId> {
        self.unanswered.front().map(|message| message.id)
    }

    /// Whether something of `subject` is in it.
    pub(super) fn holds(&self, subject: &str) -> bool {
        self.unanswered.iter().any(|message| message.route.0.subject.as_str() == subject)
    }

    /// Nobody took its first message.
    pub(super) fn not_begun(mut self, outcome: &mut Outcome) {
        match self.unanswered.pop_front() {
            Some(message) if message.written.is_some() => {
                outcome.verdicts.push((message.id, Err(error::no_responders().ambiguous())));
            }
            Some(message) => outcome.unanswerable.push(Sent::alone(message)),
            None => {}
        }
    }
}
