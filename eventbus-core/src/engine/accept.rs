//! Accepting envelopes: checks, the window, the send queue.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    bus::{CLOSED, Inner, OPEN},
    lanes::Retry,
    ledger::{Accepted, Permits},
    table::{Completion, Entry},
};
use crate::{
    Envelope, Error, ErrorKind, PublishOptions, Topic,
    backend::{InFlight, Outgoing, Transport},
    envelope::Encoded,
};

/// What a dead letter may have on top of `max_envelope_bytes`: its own headers.
pub(super) const DEAD_LETTER_BYTES: usize = 16 << 10;

/// One envelope that asks to be accepted. It is borrowed, because moving one through the
/// futures on the way costs more than accepting it.
pub(super) struct Request<'a> {
    pub(super) topic: &'a Topic,
    pub(super) envelope: &'a Envelope,
    pub(super) options: &'a PublishOptions,
    pub(super) completion: Completion,
    /// Somebody waits for this very verdict.
    pub(super) awaited: bool,
}

/// What to do about a full window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Wait.
    Wait,
    /// Refuse.
    Now,
    /// Do not count: a dead letter, which also passes while the bus closes.
    Beyond,
}

impl<T: Transport> Inner<T> {
    pub(super) async fn accept(&self, request: Request<'_>, room: Room) -> Result<(), Error> {
        // While there is room nothing else waits, and a loop that publishes would starve
        // the other tasks of its thread.
        tokio::task::coop::consume_budget().await;
        let topic = request.topic;
        let refused = match self.admit(&request, room).await {
            Ok((encoded, route, permits)) => {
                if self.enter(request, encoded, &route, permits) {
                    return Ok(());
                }
                self.closed_error()
            }
            Err(error) => error,
        };
        self.ledger.refused.fetch_add(1, Ordering::Relaxed);
        Err(refused.with_operation("publish").with_context("topic", topic))
    }

    /// Checks a request, finds its route and makes room. Nothing is accepted yet, so
    /// dropping this future leaves no trace.
    async fn admit(
        &self,
        request: &Request<'_>,
        room: Room,
    ) -> Result<(Encoded, T::Route, Option<Permits<'_>>), Error> {
        let lifecycle = self.lifecycle.load(Ordering::Acquire);
        if lifecycle == CLOSED || (lifecycle != OPEN && room != Room::Beyond) {
            return Err(self.closed_error());
        }
        self.check_options(request.options)?;
        let encoded = request.envelope.encode();
        let len = encoded.bytes().len();
        self.check_size(len, room)?;
        let route = self.route(request.topic).await?;
        let permits = match room {
            Room::Beyond => None,
            Room::Now => Some(self.ledger.try_acquire(len).ok_or_else(|| self.no_room())?),
            Room::Wait => match self.ledger.try_acquire(len) {
                Some(permits) => Some(permits),
                None => Some(self.wait_for_room(len).await?),
            },
        };
        Ok((encoded, route, permits))
    }

    async fn wait_for_room(&self, len: usize) -> Result<Permits<'_>, Error> {
        self.transport.expedite();
        self.ledger.acquire(len).await.ok_or_else(|| self.closed_error())
    }

    fn no_room(&self) -> Error {
        if self.lifecycle.load(Ordering::Acquire) != OPEN {
            return self.closed_error();
        }
        self.error(
            ErrorKind::WindowFull,
            "no room in the window; wait for it with `publish`, or raise `max_in_flight` or \
             `max_in_flight_bytes`",
        )
    }

    fn check_options(&self, options: &PublishOptions) -> Result<(), Error> {
        let missing = if options.idempotent && !self.capabilities.idempotent_publish {
            "idempotent_publish"
        } else if options.atomic && !self.capabilities.atomic_batch {
            "atomic_batch"
        } else if options.retry.is_some() && self.capabilities.native_retry {
            return Err(self.error(
                ErrorKind::Unsupported,
                "the backend retries by itself, by the policy of the bus alone; set \
                 `retry_max_elapsed` there",
            ));
        } else {
            return Ok(());
        };
        Err(self.unsupported(missing))
    }

    pub(super) fn unsupported(&self, capability: &'static str) -> Error {
        self.error(ErrorKind::Unsupported, "the backend does not have this capability")
            .with_context("capability", capability)
    }

    fn check_size(&self, len: usize, room: Room) -> Result<(), Error> {
        let broker = self.capabilities.max_message_bytes;
        let limit = match room {
            Room::Beyond => (self.ledger.config.max_envelope_bytes + DEAD_LETTER_BYTES).min(broker),
            _ => self.ledger.config.max_envelope_bytes.min(broker),
        };
        if len <= limit {
            return Ok(());
        }
        let message = "the encoded envelope is too large; keep large data elsewhere and publish a \
                       reference, or raise `max_envelope_bytes` and the broker's limit";
        Err(self
            .error(ErrorKind::TooLarge, message)
            .with_context("bytes", len)
            .with_context("limit", limit))
    }

    /// Accepts a request and sends it. False when the bus was closed.
    fn enter(
        &self,
        request: Request<'_>,
        encoded: Encoded,
        route: &T::Route,
        permits: Option<Permits<'_>>,
    ) -> bool {
        let Request { topic, envelope, options, completion, awaited } = request;
        let bytes = encoded.bytes().clone();
        let entry = Entry::new(
            topic.clone(),
            encoded,
            completion,
            permits.is_some(),
            self.retry_for(topic, envelope, options),
        );
        match self.ledger.accept(entry, permits) {
            Accepted::Refused => return false,
            Accepted::Wait => {}
            Accepted::Send(id) => {
                let entry = InFlight::new(self.ledger.clone(), id);
                self.transport.send(route, Outgoing::new(entry, bytes, envelope, options, awaited));
            }
        }
        true
    }

    fn retry_for(
        &self,
        topic: &Topic,
        envelope: &Envelope,
        options: &PublishOptions,
    ) -> Option<Box<Retry>> {
        if self.capabilities.native_retry {
            return None;
        }
        let policy = options.retry.unwrap_or_else(|| self.ledger.config.retry());
        if policy.is_none() {
            // It must not overtake one of its key that is retried.
            if envelope.aggregate_id().is_none() || !self.ledger.retries.load(Ordering::Relaxed) {
                return None;
            }
        } else {
            self.ledger.retries.store(true, Ordering::Relaxed);
        }
        let lane = match envelope.aggregate_id() {
            Some(key) => HASHER.hash_one((topic, key)),
            // No key, no order: a lane of its own.
            None => HASHER.hash_one(KEYLESS.fetch_add(1, Ordering::Relaxed)),
        };
        Some(Box::new(Retry::new(policy, options.clone(), lane)))
    }
}

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static KEYLESS: AtomicU64 = AtomicU64::new(0);
