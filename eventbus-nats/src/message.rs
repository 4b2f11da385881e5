//! What the ring and the batches pass on: a message before and after it is written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use eventbus_core::{Error, Topic, backend::EntryId};

use crate::atomic::AtomicBatch;

/// The header by which a stream recognises what it has stored already.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// What publishing to a topic needs.
#[derive(Debug, Clone)]
pub struct Route(pub(crate) Arc<RouteInfo>);

#[derive(Debug)]
pub(crate) struct RouteInfo {
    pub(crate) topic: Topic,
    pub(crate) subject: Subject,
    /// The stream, by its place in the configuration.
    pub(crate) stream: usize,
    pub(crate) duplicate_window: Duration,
    /// Whether the stream takes batches, as far as is known.
    pub(crate) batches: bool,
    /// The last link over which the broker has acknowledged something of this topic.
    pub(crate) acknowledged_on: AtomicU64,
}

/// What an id, its header and the protocol may take of a stream's duplicate window.
const WINDOW_MARGIN: u32 = 4;

impl Route {
    /// Whether the stream certainly still recognises what was first written then.
    pub(crate) fn recognises(&self, first_written: Instant) -> bool {
        let window = self.0.duplicate_window;
        first_written.elapsed() < window - window / WINDOW_MARGIN
    }

    /// The error of a message that the server forbids.
    pub(crate) fn denied(&self, error: &Error, link: u64) -> Error {
        // The permission went away while this topic was in use: an acknowledgement may
        // still be on its way.
        let in_use = self.0.acknowledged_on.load(Ordering::Relaxed) == link;
        if in_use { error.clone().ambiguous() } else { error.clone() }
    }
}

/// An envelope that was not written yet, or may have to be written again.
pub(crate) struct Message {
    pub(crate) id: EntryId,
    pub(crate) route: Route,
    pub(crate) payload: Bytes,
    pub(crate) message_id: Option<Box<str>>,
    /// Of a raw topic.
    pub(crate) headers: Option<Box<HeaderMap>>,
    pub(crate) order: Option<Order>,
    /// Its publisher asked for it, and may ask whether it was there.
    pub(crate) idempotent: bool,
    /// Somebody waits for its verdict.
    pub(crate) awaited: bool,
    /// The envelopes of an atomic batch, which goes as one message through all that queues.
    pub(crate) atomic: Option<Box<AtomicBatch>>,
    /// When it was first written, if it may be stored and the stream would recognise it.
    pub(crate) written: Option<Instant>,
}

/// What `strict_order` needs to know about a message.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Topic and key, hashed; `None` without a key.
    pub(crate) lane: Option<u64>,
    pub(crate) first_sent: Option<Instant>,
    pub(crate) last_sent: Option<Instant>,
}

impl Order {
    /// As it was before a writing that did not happen.
    pub(crate) fn unwritten(self) -> Self {
        let repeated = self.first_sent != self.last_sent;
        Self { first_sent: self.first_sent.filter(|_| repeated), ..self }
    }
}

/// An envelope that was written and has no answer yet.
pub(crate) struct Sent {
    pub(crate) id: EntryId,
    pub(crate) route: Route,
    /// All that is needed to send it again; only with `strict_order`.
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) idempotent: bool,
    /// How many envelopes an atomic batch has; `None` for what goes alone.
    pub(crate) batch: Option<u32>,
}

impl Sent {
    /// Of a batch that nobody took.
    pub(crate) fn alone(message: Message) -> Self {
        let Message { id, route, idempotent, .. } = message;
        Self { id, route, kept: None, idempotent, batch: None }
    }

    /// Written more than once.
    pub(crate) fn is_repeated(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.order.first_sent != kept.order.last_sent)
    }
}

pub(crate) struct Kept {
    pub(crate) payload: Bytes,
    pub(crate) message_id: Option<Box<str>>,
    pub(crate) headers: Option<Box<HeaderMap>>,
    pub(crate) order: Order,
}

impl Message {
    /// Never written.
    pub(crate) fn is_fresh(&self) -> bool {
        self.written.is_none() && self.order.is_none_or(|order| order.first_sent.is_none())
    }
}
