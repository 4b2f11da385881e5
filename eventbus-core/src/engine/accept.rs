//! Accepting envelopes: checks, the window, the send queue.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    bus::{BoxFuture, CLOSED, Inner, OPEN, Routed},
    lanes::Retry,
    ledger::Accepted,
    table::{Completion, Entry},
};
use crate::{
    Envelope, Error, ErrorKind, PublishOptions, RetryPolicy, Topic,
    backend::{InFlight, Outgoing, Transport},
    envelope::{Encoded, raw},
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

/// How far accepting has come.
enum Entering<'a> {
    Done(Result<(), Error>),
    /// For the route, or for room.
    Waiting(BoxFuture<'a, Result<(), Error>>),
}

impl<T: Transport> Inner<T> {
    /// Accepts an envelope and sends it. Until it is accepted, dropping this future leaves
    /// no trace.
    pub(super) async fn accept(&self, request: Request<'_>, room: Room) -> Result<(), Error> {
        // While there is room nothing else waits, and a loop that publishes would starve
        // the other tasks of its thread.
        tokio::task::coop::consume_budget().await;
        let topic = request.topic;
        let accepted = match self.enter(request, room) {
            Entering::Done(accepted) => accepted,
            Entering::Waiting(accepted) => accepted.await,
        };
        accepted.map_err(|error| {
            self.ledger.refused.fetch_add(1, Ordering::Relaxed);
            error.with_operation("publish").with_context("topic", topic)
        })
    }

    /// The usual way to accept, on which nothing is waited for. The rest is boxed, because
    /// every publish would pay for its size.
    fn enter<'a>(&'a self, request: Request<'a>, room: Room) -> Entering<'a> {
        let encoded = match self.check(&request, room) {
            Ok(encoded) => encoded,
            Err(error) => return Entering::Done(Err(error)),
        };
        let route = self.known_route(request.topic);
        if let Err(error) = self.check_raw(route.as_ref(), &request) {
            return Entering::Done(Err(error));
        }
        let Some(route) = route else {
            return Entering::Waiting(Box::pin(async move {
                let route = self.find_route(request.topic).await?;
                match self.enter_by(route, request, encoded, room) {
                    Entering::Done(accepted) => accepted,
                    Entering::Waiting(accepted) => accepted.await,
                }
            }));
        };
        self.enter_by(route, request, encoded, room)
    }

    /// Checks a request before anything is done about it.
    fn check(&self, request: &Request<'_>, room: Room) -> Result<Encoded, Error> {
        self.check_allowed(request.options, room)?;
        let encoded = request.envelope.encode_shared();
        self.check_size(encoded.bytes().len(), room)?;
        Ok(encoded)
    }

    /// Whether the bus takes anything, and such a thing.
    pub(super) fn check_allowed(&self, options: &PublishOptions, room: Room) -> Result<(), Error> {
        let lifecycle = self.lifecycle.load(Ordering::Acquire);
        if lifecycle == CLOSED || (lifecycle != OPEN && room != Room::Beyond) {
            return Err(self.closed_error());
        }
        self.check_options(options)
    }

    /// Checks what only raw topics ask for.
    fn check_raw(
        &self,
        route: Option<&Routed<T::Route>>,
        request: &Request<'_>,
    ) -> Result<(), Error> {
        let Request { topic, envelope, .. } = request;
        if !route.map_or_else(|| self.is_raw(topic), |route| route.raw) {
            return Ok(());
        }
        raw::check(envelope)?;
        self.transport.check_raw(topic, envelope)
    }

    fn enter_by<'a>(
        &'a self,
        route: Routed<T::Route>,
        request: Request<'a>,
        encoded: Encoded,
        room: Room,
    ) -> Entering<'a> {
        let Request { topic, envelope, options, completion, awaited } = request;
        let bytes = encoded.bytes().clone();
        let retry = self.retry_for(topic, envelope, options);
        let windowed = room != Room::Beyond;
        let entry = Entry::new(topic.clone(), encoded, completion, windowed, retry);
        let send = move |id| {
            let entry = InFlight::new(self.ledger.clone(), id);
            let outgoing = Outgoing::new(entry, bytes, envelope, options, awaited, route.raw);
            self.transport.send(&route.route, outgoing);
            Ok(())
        };
        Entering::Done(match self.ledger.accept(entry, room, None) {
            Accepted::Send(id) => send(id),
            Accepted::Wait => Ok(()),
            Accepted::Refused => Err(self.closed_error()),
            Accepted::Full(_) if room == Room::Now => Err(self.no_room()),
            Accepted::Full(entry) => {
                return Entering::Waiting(Box::pin(async move {
                    match self.wait_for_room(entry).await {
                        Accepted::Send(id) => send(id),
                        Accepted::Wait => Ok(()),
                        Accepted::Refused | Accepted::Full(_) => Err(self.closed_error()),
                    }
                }));
            }
        })
    }

    async fn wait_for_room(&self, entry: Entry) -> Accepted {
        self.transport.expedite();
        match self.ledger.queue(1, entry.len()) {
            Some(queued) if queued.granted().await => {
                self.ledger.accept(entry, Room::Wait, Some(queued))
            }
            _ => Accepted::Refused,
        }
    }

    fn no_room(&self) -> Error {
        self.error(
            ErrorKind::WindowFull,
            "no room in the window; wait for it with `publish`, or raise `max_in_flight` or \
             `max_in_flight_bytes`",
        )
    }

    fn check_options(&self, options: &PublishOptions) -> Result<(), Error> {
        if options.atomic && (options.idempotent || options.retry.is_some()) {
            return Err(self.error(
                ErrorKind::Unsupported,
                "an atomic batch is sent once, so `atomic` does not go with `idempotent` or \
                 `retry`",
            ));
        }
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

    pub(super) fn check_size(&self, len: usize, room: Room) -> Result<(), Error> {
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

    pub(super) fn retry_for(
        &self,
        topic: &Topic,
        envelope: &Envelope,
        options: &PublishOptions,
    ) -> Option<Box<Retry>> {
        if self.capabilities.native_retry {
            return None;
        }
        let policy = match options.retry {
            _ if options.atomic => RetryPolicy::none(),
            Some(policy) => policy,
            None => self.ledger.config.retry(),
        };
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
