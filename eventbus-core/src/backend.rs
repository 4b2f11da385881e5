//! What a backend implements.
//!
//! A backend is a [`Transport`]: it sends encoded envelopes and opens [`Source`]s. The
//! engine, [`Bus`](crate::Bus), does the rest once for all: capability checks, the window,
//! the publish modes, verdict timeouts, the retry queue, flush, close, statistics, decoding
//! and dead letters. An outside backend needs nothing that is not public here:
//!
//! 1. make a [`Window`] from the [`Connect`] request and take its [`Verdicts`],
//! 2. connect the transport, giving it the verdicts,
//! 3. [`Bus::start`](crate::Bus::start) both, and
//! 4. register a [`Connector`] for a URL scheme.
//!
//! This interface may still change in minor versions.

mod entry;
mod source;

use std::{future::Future, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

pub use crate::{
    engine::Window,
    envelope::raw::{RAW_FIELDS, RawMessage, raw_headers},
    registry::Connect,
};
pub use entry::{EntryId, InFlight, Stored, Verdicts};
pub use source::{Content, Incoming, Settlement, Settler, Settling, Source, SourceError, Token};

use crate::{
    Capabilities, Envelope, Error, ErrorKind, EventBus, Health, PublishOptions, SubscribeOptions,
    Topic, TopicFilter,
};

/// Connects buses for one URL scheme.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// The URL parameters that it takes beyond those of
    /// [`BusConfig::PARAMETERS`](crate::BusConfig::PARAMETERS).
    fn parameters(&self) -> &'static [&'static str];

    /// Connects. The parameters of the bus itself have been taken and validated; the
    /// connector takes its own from `request.url.parameters`.
    ///
    /// # Errors
    /// `InvalidConfig` for a bad URL, `Unavailable` and `Unauthorized` from the broker.
    /// Nothing may be left running after an error.
    async fn connect(&self, request: Connect) -> Result<std::sync::Arc<dyn EventBus>, Error>;
}

/// The part of a backend that talks to the broker.
///
/// Dropping a transport must not block and must work outside a runtime; orderly shutdown
/// is [`shutdown`](Self::shutdown).
pub trait Transport: Send + Sync + 'static {
    /// What sending to a topic needs: resolved once per topic and kept by the engine. Make
    /// it cheap to clone.
    type Route: Clone + Send + Sync + 'static;
    /// The sources that it opens.
    type Source: Source;

    /// The URL scheme, as it is to stand in errors and positions.
    fn backend(&self) -> &'static str;

    /// What the backend can do. Constant while connected.
    fn capabilities(&self) -> Capabilities;

    /// Prepares sending to `topic`: finds it, or creates it if provisioning says so. Called
    /// before the first publish to each topic, possibly several times at once.
    ///
    /// # Errors
    /// `TopicNotFound`, `TopicConflict`, `PermissionDenied`, `Unavailable`.
    fn resolve(&self, topic: &Topic) -> impl Future<Output = Result<Self::Route, Error>> + Send;

    /// Refuses an envelope for a raw topic that the native side cannot carry, before anything
    /// is done about it. [`raw_headers`] gives what is to be carried.
    ///
    /// # Errors
    /// `InvalidEnvelope`, naming the header.
    fn check_raw(&self, topic: &Topic, envelope: &Envelope) -> Result<(), Error> {
        let _ = (topic, envelope);
        Ok(())
    }

    /// Puts one envelope in the send queue, in the order of the calls, without blocking: the
    /// window bounds what can be queued. The verdict comes later through
    /// [`Verdicts`] or [`InFlight`], exactly once.
    fn send(&self, route: &Self::Route, outgoing: Outgoing<'_>);

    /// Puts an atomic batch in the send queue, like [`send`](Self::send) in the order of the
    /// calls: the envelopes are stored one behind the other, or none is. Only called with the
    /// capability `atomic_batch`.
    fn send_atomic(&self, route: &Self::Route, batch: OutgoingBatch<'_>) {
        let _ = route;
        let error = Error::new(ErrorKind::Unsupported, "the backend has no atomic batches");
        batch.entry.complete(Err(error));
    }

    /// Somebody waits for what has been sent (a flush, a full window): do not linger.
    fn expedite(&self) {}

    /// Opens a source. Resolves when its start positions are fixed: what is published
    /// afterwards is delivered. The options were checked against the capabilities.
    ///
    /// # Errors
    /// `GroupConflict`, `TopicNotFound`, `PermissionDenied`, `Unavailable`, `InvalidConfig`.
    fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> impl Future<Output = Result<Self::Source, Error>> + Send;

    /// Creates `topic` if it does not exist, whatever the provisioning setting.
    ///
    /// # Errors
    /// `TopicConflict` when it exists and does not fit, `PermissionDenied`, `Unavailable`.
    fn ensure_topic(&self, topic: &Topic) -> impl Future<Output = Result<(), Error>> + Send;

    /// Asks how the connection and the broker are doing. Must answer within about a second.
    fn health(&self) -> impl Future<Output = Health> + Send;

    /// Stops everything, by `deadline` at the latest. It may be called again when a close
    /// was cancelled, and a `send` that had begun may still arrive: fail it as `Closed`.
    fn shutdown(&self, deadline: Instant) -> impl Future<Output = ()> + Send;
}

/// One envelope on its way to the broker.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outgoing<'a> {
    /// Where to report the verdict.
    pub entry: InFlight,
    /// The envelope in the compact wire format. Small ones share a block of memory with others:
    /// whoever keeps one for long after its verdict copies it.
    pub encoded: Bytes,
    /// The envelope itself, for what a transport needs to look at (key, id, headers).
    pub envelope: &'a Envelope,
    /// What the publisher asked for.
    pub options: &'a PublishOptions,
    /// Somebody waits for this very verdict: do not linger.
    pub awaited: bool,
    /// The topic is raw: what is sent is the envelope's payload, with [`raw_headers`] and the
    /// key in native places. A backend without those sends `encoded` all the same.
    pub raw: bool,
}

/// The envelopes of an atomic batch on their way to the broker.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutgoingBatch<'a> {
    /// Where to report the verdict of all: as stored, with the offset of the first one, which
    /// the others directly follow.
    pub entry: InFlight,
    /// The envelopes in order, each with its compact wire format; see [`Outgoing::encoded`].
    pub envelopes: Vec<(Bytes, &'a Envelope)>,
    /// The topic is raw; see [`Outgoing::raw`].
    pub raw: bool,
}

impl<'a> OutgoingBatch<'a> {
    pub(crate) fn new(entry: InFlight, envelopes: Vec<(Bytes, &'a Envelope)>, raw: bool) -> Self {
        Self { entry, envelopes, raw }
    }
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(
        entry: InFlight,
        encoded: Bytes,
        envelope: &'a Envelope,
        options: &'a PublishOptions,
        awaited: bool,
        raw: bool,
    ) -> Self {
        Self { entry, encoded, envelope, options, awaited, raw }
    }

    /// The id of the envelope.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.envelope.id()
    }
}
