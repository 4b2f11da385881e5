//! The `raw` wire format: an envelope as a message that other programs write and read.
//! `docs/wire-format.md` is its specification.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use smol_str::SmolStr;
use uuid::Uuid;

use super::{Envelope, Headers, OCTET_STREAM, from_micros, micros, to_micros};
use crate::{DeliveryInfo, Error, ErrorKind, Topic};

const ID: &str = "eb-id";
const TYPE: &str = "eb-type";
const VERSION: &str = "eb-version";
const SOURCE: &str = "eb-source";
const TIME: &str = "eb-time";
const CORRELATION: &str = "eb-correlation-id";
const CAUSATION: &str = "eb-causation-id";
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const CONTENT_TYPE: &str = "content-type";

/// The headers of raw messages that hold fields of the envelope, whatever their case; a header
/// of the application cannot be called so.
pub const RAW_FIELDS: [&str; 10] = [
    ID,
    TYPE,
    VERSION,
    SOURCE,
    TIME,
    CORRELATION,
    CAUSATION,
    TRACEPARENT,
    TRACESTATE,
    CONTENT_TYPE,
];

/// The first moment that RFC 3339 cannot write: the year 10000.
const YEAR_10000: u64 = 253_402_300_800;

/// The namespace of the ids of messages that have none.
const NAMESPACE: Uuid = Uuid::from_u128(0x7c1c_5be4_38a0_5c0e_9d3b_1f0e_6b2a_94d1);

/// A message as the broker has it: what a transport gives the engine for a raw topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawMessage {
    /// The native key, which is the ordering key.
    pub key: Option<Bytes>,
    /// The native headers. Of headers with one name the last counts.
    pub headers: Vec<(String, Bytes)>,
    /// The payload.
    pub payload: Bytes,
}

impl RawMessage {
    /// A message without key and headers.
    #[must_use]
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { key: None, headers: Vec::new(), payload: payload.into() }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Reads the envelope of a message that was delivered from there.
    pub(crate) fn decode(&self, info: &DeliveryInfo) -> Result<Envelope, Error> {
        let mut envelope = Envelope {
            id: Uuid::nil(),
            event_type: SmolStr::new(info.topic()),
            event_version: 1,
            source: SmolStr::default(),
            aggregate_id: self.key.as_ref().map(|key| text("key", key)).transpose()?,
            timestamp: to_micros(info.published_at),
            correlation_id: None,
            causation_id: None,
            trace: None,
            content_type: const { SmolStr::new_static(OCTET_STREAM) },
            headers: Headers::new(),
            payload: self.payload.clone(),
        };
        let mut id = None;
        for (name, value) in &self.headers {
            let value = text(name, value)?;
            let field = RAW_FIELDS.iter().find(|field| field.eq_ignore_ascii_case(name));
            match field.copied() {
                Some(ID) => id = Some(uuid(name, &value)?),
                Some(field) => envelope.set_field(field, name, value)?,
                None => envelope.headers.insert(name, value),
            }
        }
        envelope.id =
            id.unwrap_or_else(|| Uuid::new_v5(&NAMESPACE, info.position.to_string().as_bytes()));
        Ok(envelope)
    }
}

impl Envelope {
    fn set_field(&mut self, field: &str, name: &str, value: SmolStr) -> Result<(), Error> {
        match field {
            TYPE => self.event_type = value,
            VERSION => {
                self.event_version = value.parse().map_err(|_| unreadable(name, &value))?;
            }
            SOURCE => self.source = value,
            TIME => self.timestamp = time(name, &value)?,
            CORRELATION => self.correlation_id = Some(value),
            CAUSATION => self.causation_id = Some(uuid(name, &value)?),
            TRACEPARENT => self.trace.get_or_insert_default().parent = value,
            TRACESTATE => self.trace.get_or_insert_default().state = value,
            _ => self.content_type = value,
        }
        Ok(())
    }
}

/// The native headers of an envelope that is published to a raw topic: its fields, as far as
/// they differ from what a reader takes an absent one for, then the application's headers.
/// The key and the payload are not among them.
#[must_use]
pub fn raw_headers<'a>(envelope: &'a Envelope, topic: &Topic) -> Vec<(&'a str, Cow<'a, str>)> {
    let mut headers = Vec::with_capacity(4 + envelope.headers.len());
    headers.push((ID, Cow::Owned(envelope.id.hyphenated().to_string())));
    if envelope.event_type != topic.as_str() {
        headers.push((TYPE, Cow::Borrowed(envelope.event_type())));
    }
    if envelope.event_version != 1 {
        headers.push((VERSION, Cow::Owned(envelope.event_version.to_string())));
    }
    if !envelope.source.is_empty() {
        headers.push((SOURCE, Cow::Borrowed(envelope.source())));
    }
    headers.push((TIME, Cow::Owned(time_text(envelope.timestamp))));
    if let Some(id) = &envelope.correlation_id {
        headers.push((CORRELATION, Cow::Borrowed(id)));
    }
    if let Some(id) = envelope.causation_id {
        headers.push((CAUSATION, Cow::Owned(id.hyphenated().to_string())));
    }
    if let Some(trace) = &envelope.trace {
        headers.push((TRACEPARENT, Cow::Borrowed(&trace.parent)));
        if !trace.state.is_empty() {
            headers.push((TRACESTATE, Cow::Borrowed(&trace.state)));
        }
    }
    if envelope.content_type != OCTET_STREAM {
        headers.push((CONTENT_TYPE, Cow::Borrowed(envelope.content_type())));
    }
    headers.extend(envelope.headers.iter().map(|(name, value)| (name, Cow::Borrowed(value))));
    headers
}

/// Refuses headers of the application that a reader would take for a field.
pub(crate) fn check(envelope: &Envelope) -> Result<(), Error> {
    let taken = |name: &str| RAW_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
    match envelope.headers.iter().find(|(name, _)| taken(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::new(
            ErrorKind::InvalidEnvelope,
            "in a raw topic this header holds a field of the envelope; set the field instead, or \
             call the header something else",
        )
        .with_context("header", name)),
    }
}

fn text(name: &str, value: &Bytes) -> Result<SmolStr, Error> {
    str::from_utf8(value).map(SmolStr::new).map_err(|_| unreadable(name, value.escape_ascii()))
}

fn uuid(name: &str, value: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(value).map_err(|_| unreadable(name, value))
}

fn time_text(time: SystemTime) -> String {
    let micros = micros(time);
    if micros / 1_000_000 < YEAR_10000 {
        humantime::format_rfc3339_micros(from_micros(micros)).to_string()
    } else {
        micros.to_string()
    }
}

fn time(name: &str, value: &str) -> Result<SystemTime, Error> {
    let time = match value.parse() {
        Ok(micros) => {
            SystemTime::UNIX_EPOCH + Duration::from_micros(u64::min(micros, i64::MAX as u64))
        }
        Err(_) => humantime::parse_rfc3339(value).map_err(|_| unreadable(name, value))?,
    };
    Ok(to_micros(time))
}

fn unreadable(name: &str, value: impl std::fmt::Display) -> Error {
    const MOST: usize = 80;
    let shown: String = value.to_string().chars().take(MOST).collect();
    let message = "a header or the key of a raw message cannot be read as what it should be";
    Error::new(ErrorKind::Undecodable, message)
        .with_context("header", name)
        .with_context("value", format!("{shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    const TOPIC: Topic = Topic::from_static("legacy.orders");

    fn info() -> DeliveryInfo {
        let stored = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
        DeliveryInfo::new(Position::new("test", TOPIC, 3, 42), 1, stored)
    }

    fn sent(envelope: &Envelope) -> RawMessage {
        let mut message = RawMessage::new(envelope.payload().clone());
        message.key = envelope.aggregate_id().map(|key| Bytes::copy_from_slice(key.as_bytes()));
        for (name, value) in raw_headers(envelope, &TOPIC) {
            message = message.with_header(name, value.into_owned().into_bytes());
        }
        message
    }

    fn full() -> Envelope {
        Envelope::new("order.créé", "body")
            .key("42")
            .with_event_version(7)
            .with_source("shop")
            .with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456))
            .with_correlation_id("c")
            .with_causation_id(Uuid::from_u128(5))
            .with_trace("00-x", "a=b")
            .with_content_type("text/plain")
            .with_header("tenant", "acme")
    }

    #[test]
    fn every_field_comes_back() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(YEAR_10000);
        for envelope in [
            full(),
            Envelope::new("", "").with_content_type("").with_correlation_id("").key(""),
            Envelope::new(TOPIC, "").with_trace("", ""),
            Envelope::new(TOPIC, "").with_trace("", "only state"),
            Envelope::new(TOPIC, "").with_timestamp(far),
            Envelope::new(TOPIC, "").with_timestamp(SystemTime::UNIX_EPOCH),
        ] {
            assert_eq!(sent(&envelope).decode(&info()).unwrap(), envelope);
        }
    }

    #[test]
    fn defaults_are_not_written() {
        let envelope = Envelope::new(TOPIC, "");
        let names: Vec<_> = raw_headers(&envelope, &TOPIC).into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, [ID, TIME]);
    }

    #[test]
    fn a_foreign_message_gets_what_it_lacks() {
        let message = RawMessage::new("body").with_key("k").with_header("x", "1");
        let envelope = message.decode(&info()).unwrap();
        assert_eq!(envelope.event_type(), TOPIC.as_str());
        assert_eq!(envelope.timestamp(), info().published_at);
        assert_eq!((envelope.aggregate_id(), envelope.header("x")), (Some("k"), Some("1")));
        assert_eq!((envelope.content_type(), envelope.event_version()), (OCTET_STREAM, 1));
        assert_eq!(envelope.id(), message.decode(&info()).unwrap().id());
        assert_eq!(envelope.id().to_string(), "42375a73-875f-5161-b982-7d0d45330fb8");
    }

    #[test]
    fn of_headers_with_one_name_the_last_counts() {
        let message = RawMessage::new("")
            .with_header("Content-Type", "text/html")
            .with_header("content-type", "text/plain")
            .with_header("x", "1")
            .with_header("x", "2");
        let envelope = message.decode(&info()).unwrap();
        assert_eq!((envelope.content_type(), envelope.header("x")), ("text/plain", Some("2")));
        assert_eq!(envelope.headers().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (name, value) in [
            ("x", &b"\xff"[..]),
            (ID, b"7"),
            (VERSION, b"-1"),
            (TIME, b"yesterday"),
            (CAUSATION, b""),
        ] {
            let message = RawMessage::new("").with_header(name, value);
            let error = message.decode(&info()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Undecodable);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(RawMessage::new("").with_key(&b"\xff"[..]).decode(&info()).is_err());
    }

    #[test]
    fn headers_that_are_fields_are_refused() {
        assert!(check(&full()).is_ok());
        for name in [ID, "Content-Type", TRACEPARENT] {
            let error = check(&full().with_header(name, "x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidEnvelope);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
