//! The envelope: an event with what a bus needs to know about it.

mod block;
mod compact;
mod headers;
pub(crate) mod raw;

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use smol_str::SmolStr;
use uuid::{ContextV7, Timestamp, Uuid};

pub(crate) use compact::Encoded;
pub use headers::Headers;

use crate::{Error, ErrorKind};

/// The content type of [`Envelope::json`].
pub const JSON: &str = "application/json";
/// The content type of [`Envelope::new`].
pub const OCTET_STREAM: &str = "application/octet-stream";

/// An event and its metadata. The payload is opaque to the bus and cheap to clone.
///
/// ```
/// use eventbus_core::Envelope;
/// # #[derive(serde::Serialize)] struct Order { id: u32 }
/// let envelope = Envelope::json("order.created", &Order { id: 42 })?
///     .key("42") // events with one key keep their order
///     .with_source("shop")
///     .with_header("tenant", "acme");
/// assert_eq!(envelope.aggregate_id(), Some("42"));
/// # Ok::<(), eventbus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    id: Uuid,
    event_type: SmolStr,
    event_version: u32,
    source: SmolStr,
    aggregate_id: Option<SmolStr>,
    timestamp: SystemTime,
    correlation_id: Option<SmolStr>,
    causation_id: Option<Uuid>,
    trace: Option<Box<Trace>>,
    content_type: SmolStr,
    headers: Headers,
    payload: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Trace {
    parent: SmolStr,
    state: SmolStr,
}

impl Envelope {
    /// An event of `event_type` with a binary payload, a new time-ordered id (`UUIDv7`), and
    /// the time of now in microseconds.
    #[must_use]
    pub fn new(event_type: impl AsRef<str>, payload: impl Into<Bytes>) -> Self {
        let (id, timestamp) = now();
        Self {
            id,
            event_type: SmolStr::new(event_type),
            event_version: 1,
            source: SmolStr::default(),
            aggregate_id: None,
            timestamp,
            correlation_id: None,
            causation_id: None,
            trace: None,
            content_type: const { SmolStr::new_static(OCTET_STREAM) },
            headers: Headers::new(),
            payload: payload.into(),
        }
    }

    /// An event of `event_type` with `payload` as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidEnvelope`] when `payload` cannot be serialised.
    pub fn json(
        event_type: impl AsRef<str>,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(payload).map_err(|error| {
            Error::new(ErrorKind::InvalidEnvelope, "the payload cannot be serialised as JSON")
                .with_context("event_type", event_type.as_ref())
                .with_source(error)
        })?;
        let mut envelope = Self::new(event_type, bytes);
        envelope.content_type = const { SmolStr::new_static(JSON) };
        Ok(envelope)
    }

    /// Sets the ordering key ([`aggregate_id`](Self::aggregate_id)): envelopes that one task
    /// publishes to one topic with one key are stored in that order.
    #[must_use]
    pub fn key(mut self, aggregate_id: impl AsRef<str>) -> Self {
        self.aggregate_id = Some(SmolStr::new(aggregate_id));
        self
    }

    /// Replaces the id, for example to publish an event again as the same one.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Sets the version of the event's schema; 1 unless set.
    #[must_use]
    pub fn with_event_version(mut self, version: u32) -> Self {
        self.event_version = version;
        self
    }

    /// Names the program or service that the event comes from.
    #[must_use]
    pub fn with_source(mut self, source: impl AsRef<str>) -> Self {
        self.source = SmolStr::new(source);
        self
    }

    /// Sets the time of the event. It is kept in whole microseconds since the Unix epoch;
    /// times before it become the epoch.
    #[must_use]
    pub fn with_timestamp(mut self, timestamp: SystemTime) -> Self {
        self.timestamp = to_micros(timestamp);
        self
    }

    /// Sets the id that all events of one business transaction share.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl AsRef<str>) -> Self {
        self.correlation_id = Some(SmolStr::new(id));
        self
    }

    /// Sets the id of the event that caused this one.
    #[must_use]
    pub fn with_causation_id(mut self, id: Uuid) -> Self {
        self.causation_id = Some(id);
        self
    }

    /// Makes this event a consequence of `cause`: takes over its correlation id (or its id
    /// where it has none) and trace context, and names it as the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: &Self) -> Self {
        self.correlation_id = Some(match &cause.correlation_id {
            Some(id) => id.clone(),
            None => SmolStr::new(cause.id.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
        });
        self.causation_id = Some(cause.id);
        self.trace.clone_from(&cause.trace);
        self
    }

    /// Sets the W3C trace context: the values of `traceparent` and `tracestate` (may be empty).
    #[must_use]
    pub fn with_trace(mut self, parent: impl AsRef<str>, state: impl AsRef<str>) -> Self {
        self.trace =
            Some(Box::new(Trace { parent: SmolStr::new(parent), state: SmolStr::new(state) }));
        self
    }

    /// Sets the media type of the payload.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl AsRef<str>) -> Self {
        self.content_type = SmolStr::new(content_type);
        self
    }

    /// Sets a header; the value of a header that is set already is replaced.
    #[must_use]
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Replaces the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// The id: a `UUIDv7` unless the publisher set another.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The type of the event, for example `order.created`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The version of the event's schema.
    #[must_use]
    pub fn event_version(&self) -> u32 {
        self.event_version
    }

    /// The program or service that the event comes from; empty when not set.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The ordering key, set by [`key`](Self::key): the aggregate that the event belongs to.
    #[must_use]
    pub fn aggregate_id(&self) -> Option<&str> {
        self.aggregate_id.as_deref()
    }

    /// When the event happened, according to its publisher.
    #[must_use]
    pub fn timestamp(&self) -> SystemTime {
        self.timestamp
    }

    /// The id that all events of one business transaction share.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// The id of the event that caused this one.
    #[must_use]
    pub fn causation_id(&self) -> Option<Uuid> {
        self.causation_id
    }

    /// The W3C `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.parent.as_str())
    }

    /// The W3C `tracestate`; empty when only the parent is set.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.state.as_str())
    }

    /// The media type of the payload.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// The application's own headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of one header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Takes the payload out.
    #[must_use]
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Reads the payload as JSON, whatever the content type says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidEnvelope`] when the payload is not the JSON of a `D`.
    pub fn to_json<D: DeserializeOwned>(&self) -> Result<D, Error> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            Error::new(ErrorKind::InvalidEnvelope, "the payload is not the JSON that was expected")
                .with_context("event_type", &self.event_type)
                .with_context("id", self.id)
                .with_source(error)
        })
    }

    /// How many bytes [`to_bytes`](Self::to_bytes) gives: what the size limits count.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        compact::encoded_len(self)
    }

    /// The envelope in the compact wire format (`docs/wire-format.md`).
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.encode().into_bytes()
    }

    /// Reads an envelope in the compact wire format. The payload is a slice of `bytes`,
    /// nothing of it is copied.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] for bytes that are no envelope, or one of a later version.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Error> {
        compact::decode(bytes)
    }

    pub(crate) fn encode(&self) -> Encoded {
        compact::encode(self)
    }

    /// Like [`encode`](Self::encode), cheaper, and for what is soon done with.
    pub(crate) fn encode_shared(&self) -> Encoded {
        compact::encode_shared(self)
    }
}

impl fmt::Debug for Envelope {
    // The payload may hold personal data: its size is shown, not its content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("aggregate_id", &self.aggregate_id)
            .field("content_type", &self.content_type)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// The ids of a process ascend, also within a millisecond.
static SEQUENCE: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A new id and its time. Each look at a clock is a good part of what an envelope costs, so both
/// are of one.
fn now() -> (Uuid, SystemTime) {
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp::from_unix(&SEQUENCE, since.as_secs(), since.subsec_nanos());
    (Uuid::new_v7(time), to_micros(now))
}

fn to_micros(time: SystemTime) -> SystemTime {
    from_micros(micros(time))
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // 2^63 µs is the year 294247; more does not fit a SystemTime on every platform. In 64 bits,
    // because `as_micros` divides 128 and every envelope pays for it.
    let micros = since.as_secs().saturating_mul(1_000_000);
    micros.saturating_add(since.subsec_micros().into()).min(i64::MAX as u64)
}

fn from_micros(micros: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.min(i64::MAX as u64))
}
