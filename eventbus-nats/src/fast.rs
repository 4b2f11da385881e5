//! Fast ingest: what goes to a stream goes through one open batch, which the server acknowledges
//! every so many messages instead of one by one (ADR-50, nats-server 2.14).
//!
//! While a batch is open everything for its stream goes through it, and nothing is written behind
//! its end before the server has said where that is. So what the server did not take can be
//! written again, in order; and what it reads of an old connection after a new one was used
//! belongs to a batch that has ended, and is refused.

mod batch;
mod stream;
mod word;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use eventbus_core::{
    Error, ErrorKind,
    backend::{EntryId, Stored},
};

use crate::{atomic::AtomicBatch, config::FastIngest, error, message::Message};
pub(crate) use batch::Outcome;
use batch::{Batch, Phase};
use stream::Stream;
pub(crate) use word::{SUFFIX, Word, address};

/// The first version that takes batches.
const OLDEST_SERVER: (u32, u32) = (2, 14);
/// So many queued messages begin a batch.
const BACKLOG: usize = 64;
/// More the server does not grant.
const LARGEST_FLOW: usize = 500;
/// So much silence ends a batch.
const SILENCE: Duration = Duration::from_millis(1);
/// How long to wait for the answer to an end before asking again.
const PATIENCE: Duration = Duration::from_millis(250);
/// And for the answer to a first message.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// Whether to publish through batches to a server of this version.
///
/// # Errors
/// `Unsupported`, when they are demanded and it is too old.
pub(crate) fn is_possible(setting: FastIngest, version: &str) -> Result<bool, Error> {
    let known = error::is_at_least(version, OLDEST_SERVER);
    match setting {
        FastIngest::Off => Ok(false),
        FastIngest::Auto => Ok(known),
        FastIngest::Always if known => Ok(true),
        FastIngest::Always => Err(error::error(
            ErrorKind::Unsupported,
            "`fast_ingest=always` needs nats-server 2.14 or newer; upgrade it, or connect with \
             `fast_ingest=auto`",
        )
        .with_context("version", version)),
    }
}

/// Where the answer to what is written goes.
pub(crate) enum To {
    /// To the slab, by this token.
    Ring(u64),
    Batch {
        number: u64,
        reply: Arc<str>,
        sequence: u64,
        operation: Operation,
    },
}

/// What a message means for its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Start = 0,
    Append = 1,
    /// Ends it with a message.
    Commit = 2,
    /// Ends it without one.
    End = 3,
}

/// What becomes of a message that is taken from the queue.
pub(crate) enum Admission {
    /// It goes its own way.
    Ring(Message),
    /// It waits for the end of a batch.
    Held,
    Batch(To, Written),
}

/// The parts of a message that are written.
pub(crate) struct Written {
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) message_id: Option<Box<str>>,
    pub(crate) headers: Option<Box<HeaderMap>>,
    pub(crate) atomic: Option<Box<AtomicBatch>>,
}

impl Written {
    /// Nothing but a subject.
    pub(crate) const fn empty(subject: Subject) -> Self {
        Self { subject, payload: Bytes::new(), message_id: None, headers: None, atomic: None }
    }
}

/// The batches of a bus, one for each stream at most.
pub(crate) struct Fast {
    setting: FastIngest,
    /// The reply subject of all batches before the number.
    prefix: Box<str>,
    flow: usize,
    begun: u64,
    ack_timeout: Duration,
    /// By their places in the configuration.
    streams: Vec<Stream>,
}

impl Fast {
    pub(crate) fn new(
        setting: FastIngest,
        prefix: &str,
        window: usize,
        ack_timeout: Duration,
        streams: usize,
    ) -> Self {
        let flow = (window / 4).clamp(1, LARGEST_FLOW);
        Self {
            setting,
            prefix: prefix.into(),
            flow,
            begun: 0,
            ack_timeout,
            streams: (0..streams).map(|_| Stream::default()).collect(),
        }
    }

    /// What to do with a message, behind which `behind` are queued.
    pub(crate) fn admit(&mut self, mut message: Message, behind: usize, now: Instant) -> Admission {
        if !message.route.0.batches {
            return Admission::Ring(message);
        }
        let alone = message.atomic.is_some() || (message.awaited && message.idempotent);
        let last = message.awaited && behind == 0;
        let stream = &mut self.streams[message.route.0.stream];
        if let Some(batch) = &mut stream.batch {
            if batch.phase != Phase::Open || !stream.held.is_empty() || alone {
                batch.due |= alone;
                stream.held.push_back(message);
                return Admission::Held;
            }
            batch.due |= message.awaited;
            let last = batch.due && behind == 0;
            return write(batch, message, last, now);
        }
        if !stream.begins(self.setting, &message, behind, now) {
            return Admission::Ring(message);
        }
        let number = self.begun;
        self.begun += 1;
        let reply = format!("{}{number:x}.{}.fail.", self.prefix, self.flow);
        let batch =
            stream.batch.insert(Batch::new(number, reply.into(), message.route.clone(), now));
        if message.message_id.is_none() {
            // Written again, the stream recognises it.
            let (_, ours) = self.prefix.rsplit_once('.').unwrap_or_default();
            message.message_id = Some(format!("{ours}:{:x}", message.id.to_u64()).into());
        }
        write(batch, message, last || alone, now)
    }

    /// What is to be written without a message, and what has waited for too long.
    pub(crate) fn act(
        &mut self,
        now: Instant,
        queued: bool,
        is_pending: impl Fn(EntryId) -> bool,
        outcome: &mut Outcome,
    ) -> Vec<(To, Subject)> {
        let mut ends = Vec::new();
        let ack_timeout = self.ack_timeout;
        for stream in &mut self.streams {
            let Some(batch) = &mut stream.batch else { continue };
            let due = batch.act_at <= now;
            match batch.phase {
                Phase::Open if due || !stream.held.is_empty() || (batch.due && !queued) => {
                    ends.push(batch.end());
                    batch.ending(now, now + PATIENCE);
                }
                Phase::Ending if due && batch.begun => {
                    ends.push(batch.end());
                    batch.ending(now, now + PATIENCE);
                }
                // Who published it was told, and nothing waits for it: its answer may still come.
                Phase::Starting | Phase::Ending
                    if due && stream.held.is_empty() && !batch.first().is_some_and(&is_pending) =>
                {
                    batch.act_at = now + START_PATIENCE;
                }
                Phase::Starting | Phase::Ending if due => {
                    stream.conclude(Batch::unanswered, outcome);
                    continue;
                }
                _ => {}
            }
            if batch.waiting_since.is_some_and(|since| since + ack_timeout / 2 <= now) {
                outcome.stuck.extend(stream.held.drain(..));
            }
        }
        ends
    }

    /// When there is something to do that no message causes.
    pub(crate) fn act_at(&self) -> Option<Instant> {
        let of_stream = |stream: &Stream| {
            let batch = stream.batch.as_ref()?;
            let stuck_at = batch.waiting_since.map(|since| since + self.ack_timeout / 2);
            let stuck_at = stuck_at.filter(|_| !stream.held.is_empty());
            Some(stuck_at.map_or(batch.act_at, |at| at.min(batch.act_at)))
        };
        self.streams.iter().filter_map(of_stream).min()
    }

    /// The stream is gone, and what was known of its batch with it.
    pub(crate) fn stream_is_gone(&mut self, stream: usize, outcome: &mut Outcome) {
        if let Some(stream) = self.streams.get_mut(stream)
            && stream.batch.as_ref().is_some_and(|batch| batch.begun)
        {
            stream.conclude(Batch::forgotten, outcome);
        }
    }

    /// An answer to the message `sequence` of a batch.
    pub(crate) fn hear(&mut self, number: u64, sequence: u64, word: Word, outcome: &mut Outcome) {
        let setting = self.setting;
        if let Some(stream) = self.stream_of(number) {
            stream.hear(setting, sequence, word, outcome);
        }
    }

    fn stream_of(&mut self, number: u64) -> Option<&mut Stream> {
        let holds = |stream: &&mut Stream| {
            stream.batch.as_ref().is_some_and(|batch| batch.number == number)
        };
        self.streams.iter_mut().find(holds)
    }

    /// A message was not written because it is too large.
    pub(crate) fn too_large(
        &mut self,
        number: u64,
        sequence: u64,
        error: Error,
        outcome: &mut Outcome,
    ) {
        let Some(stream) = self.stream_of(number) else { return };
        let Some(batch) = &mut stream.batch else { return };
        batch.refuse(sequence, error);
        if batch.begun {
            let now = Instant::now();
            batch.ending(now, now);
        } else {
            stream.conclude(|batch, outcome| batch.ended(0, Stored::default(), outcome), outcome);
        }
    }

    /// From this message on nothing was written.
    pub(crate) fn not_written(&mut self, number: u64, sequence: u64) {
        if let Some(batch) = self.stream_of(number).and_then(|stream| stream.batch.as_mut()) {
            batch.not_taken(sequence);
        }
    }

    /// The connection is lost. Over the next one each batch is asked for its end first.
    pub(crate) fn connection_lost(&mut self, outcome: &mut Outcome) {
        let now = Instant::now();
        for stream in &mut self.streams {
            match &mut stream.batch {
                Some(batch) if batch.begun => batch.ending(now, now),
                Some(_) => stream.conclude(Batch::unanswered, outcome),
                None => {}
            }
        }
    }

    pub(crate) fn denied(&mut self, subject: &str, error: &Error, outcome: &mut Outcome) {
        for stream in &mut self.streams {
            if stream.batch.as_ref().is_some_and(|batch| batch.holds(subject)) {
                stream.conclude(|batch, outcome| batch.denied(subject, error, outcome), outcome);
            }
        }
    }

    /// Takes out what was not written.
    pub(crate) fn drain_held(&mut self) -> Vec<Message> {
        self.streams.iter_mut().flat_map(|stream| stream.held.drain(..)).collect()
    }
}

fn write(batch: &mut Batch, message: Message, last: bool, now: Instant) -> Admission {
    let written = Written {
        subject: message.route.0.subject.clone(),
        payload: message.payload.clone(),
        message_id: message.message_id.clone(),
        headers: message.headers.clone(),
        atomic: None,
    };
    let to = batch.add(message, last);
    if last {
        batch.ending(now, now + PATIENCE);
    } else if batch.phase == Phase::Open {
        batch.act_at = now + SILENCE;
    }
    if !batch.begun {
        batch.act_at = now + START_PATIENCE;
    }
    Admission::Batch(to, written)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
