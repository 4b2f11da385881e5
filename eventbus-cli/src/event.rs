//! Events as JSON lines: what `sub --json` prints, `pub` and `run` read.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use eventbus::{Delivery, DeliveryInfo, Envelope, JSON, Topic, Undecodable};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The help about lines.
pub(crate) const LINES: &str = "\
A line of JSON is one event. All but the payload may be left out:
  {\"topic\":\"orders.created\",\"type\":\"order.created\",\"key\":\"42\",\"payload\":{\"total\":5},
   \"headers\":{\"tenant\":\"acme\"}}
The payload is any JSON, or instead of it stands `payload_text` (a string as it is) or
`payload_base64` (bytes). Further fields: id, source, version, timestamp, correlation_id,
causation_id, traceparent, tracestate, content_type.";

const TEXT: &str = "text/plain; charset=utf-8";

/// What the command line says about events that do not say it themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) topic: Option<Topic>,
    /// The topic is for all events, not only for those that name none.
    pub(crate) topic_for_all: bool,
    pub(crate) event_type: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

/// One line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    topic: Option<Topic>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    key: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    id: Option<Uuid>,
    source: Option<String>,
    version: Option<u32>,
    timestamp: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<Uuid>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    content_type: Option<String>,
    // What `sub --json` adds, so that its output can be published again.
    #[serde(rename = "position")]
    _position: Option<IgnoredAny>,
    #[serde(rename = "attempt")]
    _attempt: Option<IgnoredAny>,
    #[serde(rename = "published_at")]
    _published_at: Option<IgnoredAny>,
}

impl Line<'_> {
    fn payload(&self) -> Result<(Vec<u8>, &'static str), String> {
        match (&self.payload, &self.payload_text, &self.payload_base64) {
            (Some(json), None, None) => Ok((json.get().as_bytes().to_vec(), JSON)),
            (None, Some(text), None) => Ok((text.as_bytes().to_vec(), TEXT)),
            (None, None, Some(base64)) => data_encoding::BASE64
                .decode(base64.as_bytes())
                .map(|bytes| (bytes, eventbus::OCTET_STREAM))
                .map_err(|error| format!("`payload_base64` is not base64: {error}")),
            // A payload of JSON `null` reads as absent, and is what is meant.
            (None, None, None) => Ok((b"null".to_vec(), JSON)),
            _ => Err("only one of `payload`, `payload_text`, `payload_base64` can be given".into()),
        }
    }
}

/// Reads a line as an event.
pub(crate) fn read(line: &str, defaults: &Defaults) -> Result<(Topic, Envelope), String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| in_line(&error))?;
    let own = line.topic.as_ref().filter(|_| !defaults.topic_for_all);
    let topic = own.or(defaults.topic.as_ref()).cloned();
    let topic =
        topic.ok_or("the event names no `topic`; add one, or give it on the command line")?;
    let (payload, content_type) = line.payload()?;
    let mut envelope = fresh(&topic, line.event_type.as_deref(), payload, content_type, defaults);
    for (name, value) in &line.headers {
        envelope = envelope.with_header(name, value);
    }
    if let Some(key) = &line.key {
        envelope = envelope.key(key);
    }
    if let Some(id) = line.id {
        envelope = envelope.with_id(id);
    }
    if let Some(source) = &line.source {
        envelope = envelope.with_source(source);
    }
    if let Some(version) = line.version {
        envelope = envelope.with_event_version(version);
    }
    if let Some(timestamp) = &line.timestamp {
        let time = humantime::parse_rfc3339_weak(timestamp)
            .map_err(|error| format!("`timestamp` {timestamp:?} is not RFC 3339: {error}"))?;
        envelope = envelope.with_timestamp(time);
    }
    if let Some(id) = &line.correlation_id {
        envelope = envelope.with_correlation_id(id);
    }
    if let Some(id) = line.causation_id {
        envelope = envelope.with_causation_id(id);
    }
    if let Some(parent) = &line.traceparent {
        envelope = envelope.with_trace(parent, line.tracestate.as_deref().unwrap_or_default());
    }
    if let Some(content_type) = &line.content_type {
        envelope = envelope.with_content_type(content_type);
    }
    Ok((topic, envelope))
}

/// Makes an event of a bare payload: JSON if it is that, else text.
pub(crate) fn of_payload(payload: &str, topic: &Topic, defaults: &Defaults) -> Envelope {
    let is_json = serde_json::from_str::<IgnoredAny>(payload).is_ok();
    let content_type = if is_json { JSON } else { TEXT };
    fresh(topic, None, payload.as_bytes().to_vec(), content_type, defaults)
}

fn fresh(
    topic: &Topic,
    event_type: Option<&str>,
    payload: Vec<u8>,
    content_type: &str,
    defaults: &Defaults,
) -> Envelope {
    let event_type =
        event_type.or(defaults.event_type.as_deref()).unwrap_or_else(|| topic.as_str());
    let mut envelope = Envelope::new(event_type, payload)
        .with_content_type(defaults.content_type.as_deref().unwrap_or(content_type));
    if let Some(key) = &defaults.key {
        envelope = envelope.key(key);
    }
    if let Some(source) = &defaults.source {
        envelope = envelope.with_source(source);
    }
    for (name, value) in &defaults.headers {
        envelope = envelope.with_header(name, value);
    }
    envelope
}

/// The error of a JSON text that is one line of many.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => format!("{} (column {})", &text[..end], error.column()),
        _ => text,
    }
}

/// A delivery as a line.
#[derive(Debug, Serialize)]
pub(crate) struct Printed<'a> {
    topic: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    /// Why the message is no envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<String>,
    position: String,
    attempt: u32,
    published_at: String,
}

impl<'a> Printed<'a> {
    fn empty(info: &'a DeliveryInfo) -> Self {
        Self {
            topic: info.topic().as_str(),
            event_type: None,
            key: None,
            payload: None,
            payload_text: None,
            payload_base64: None,
            headers: BTreeMap::new(),
            id: None,
            source: None,
            version: None,
            timestamp: None,
            correlation_id: None,
            causation_id: None,
            traceparent: None,
            tracestate: None,
            content_type: None,
            undecodable: None,
            position: info.position.to_string(),
            attempt: info.attempt,
            published_at: rfc3339(info.published_at),
        }
    }

    pub(crate) fn undecodable(message: &'a Undecodable) -> Self {
        Self {
            payload_base64: Some(data_encoding::BASE64.encode(message.bytes())),
            undecodable: Some(message.error().to_string()),
            ..Self::empty(message.info())
        }
    }

    pub(crate) fn delivery(delivery: &'a Delivery, info: &'a DeliveryInfo) -> Self {
        Self::envelope(delivery.envelope(), info)
    }

    fn envelope(envelope: &'a Envelope, info: &'a DeliveryInfo) -> Self {
        let mut printed = Self {
            event_type: Some(envelope.event_type()),
            key: envelope.aggregate_id(),
            headers: envelope.headers().iter().collect(),
            id: Some(envelope.id()),
            source: Some(envelope.source()).filter(|source| !source.is_empty()),
            version: Some(envelope.event_version()),
            timestamp: Some(rfc3339(envelope.timestamp())),
            correlation_id: envelope.correlation_id(),
            causation_id: envelope.causation_id(),
            traceparent: envelope.traceparent(),
            tracestate: envelope.tracestate().filter(|state| !state.is_empty()),
            content_type: Some(envelope.content_type()),
            ..Self::empty(info)
        };
        match json(envelope) {
            Some(json) => printed.payload = Some(json),
            None => match std::str::from_utf8(envelope.payload()) {
                Ok(text) => printed.payload_text = Some(text),
                Err(_) => {
                    printed.payload_base64 = Some(data_encoding::BASE64.encode(envelope.payload()));
                }
            },
        }
        printed
    }
}

/// What is known about a delivery besides its envelope.
pub(crate) fn info(delivery: &Delivery) -> DeliveryInfo {
    DeliveryInfo::new(delivery.position().clone(), delivery.attempt(), delivery.published_at())
}

/// The payload as JSON on one line, if it is said to be JSON and is.
fn json(envelope: &Envelope) -> Option<Cow<'_, RawValue>> {
    let content_type = envelope.content_type();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media != JSON && !media.ends_with("+json") {
        return None;
    }
    let value: &RawValue = serde_json::from_slice(envelope.payload()).ok()?;
    if !value.get().contains(['\n', '\r']) {
        return Some(Cow::Borrowed(value));
    }
    // Between tokens only: inside strings line ends are escaped.
    let one_line = value.get().replace(['\n', '\r'], " ");
    RawValue::from_string(one_line).ok().map(Cow::Owned)
}

/// A time as text.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { topic: Some(Topic::from_static("orders")), ..Defaults::default() }
    }

    #[test]
    fn a_line_says_everything() {
        let line = r#"{"topic":"a.b","type":"t","key":"k","payload":{"b":1, "a":2.50},
            "headers":{"x":"y"},"id":"018f0000-0000-7000-8000-000000000001","source":"s",
            "version":3,"timestamp":"2026-01-31T12:00:00.000001Z","correlation_id":"c",
            "causation_id":"018f0000-0000-7000-8000-000000000002","traceparent":"tp",
            "tracestate":"ts","position":"ignored","attempt":1,"published_at":"ignored"}"#;
        let (topic, envelope) = read(&line.replace('\n', ""), &Defaults::default()).unwrap();
        assert_eq!(topic.as_str(), "a.b");
        assert_eq!(envelope.event_type(), "t");
        assert_eq!(envelope.aggregate_id(), Some("k"));
        // As written: neither sorted nor rounded.
        assert_eq!(&envelope.payload()[..], br#"{"b":1, "a":2.50}"#);
        assert_eq!(envelope.content_type(), JSON);
        assert_eq!(envelope.header("x"), Some("y"));
        assert_eq!(envelope.source(), "s");
        assert_eq!(envelope.event_version(), 3);
        assert_eq!(rfc3339(envelope.timestamp()), "2026-01-31T12:00:00.000001Z");
        assert_eq!(envelope.correlation_id(), Some("c"));
        assert!(envelope.causation_id().is_some());
        assert_eq!(envelope.tracestate(), Some("ts"));
    }

    #[test]
    fn the_command_line_fills_gaps_only() {
        let defaults = Defaults {
            key: Some("k".to_owned()),
            event_type: Some("t".to_owned()),
            headers: vec![("x".to_owned(), "1".to_owned()), ("y".to_owned(), "1".to_owned())],
            ..defaults()
        };
        let (topic, envelope) = read(r#"{"key":"own","headers":{"x":"2"}}"#, &defaults).unwrap();
        assert_eq!(topic.as_str(), "orders");
        assert_eq!(envelope.event_type(), "t");
        assert_eq!(envelope.aggregate_id(), Some("own"));
        assert_eq!((envelope.header("x"), envelope.header("y")), (Some("2"), Some("1")));
    }

    #[test]
    fn the_topic_is_that_of_the_event_unless_it_is_for_all() {
        let line = r#"{"topic":"own"}"#;
        let (topic, envelope) = read(line, &defaults()).unwrap();
        assert_eq!((topic.as_str(), envelope.event_type()), ("own", "own"));
        let for_all = Defaults { topic_for_all: true, ..defaults() };
        assert_eq!(read(line, &for_all).unwrap().0.as_str(), "orders");
    }

    #[test]
    fn payloads_are_recognised() {
        let topic = Topic::from_static("orders");
        let json = of_payload("{\"a\":1}", &topic, &Defaults::default());
        assert_eq!(json.content_type(), JSON);
        assert_eq!(json.event_type(), "orders");
        let text = of_payload("hello", &topic, &Defaults::default());
        assert_eq!(text.content_type(), TEXT);
        let (_, bytes) = read(r#"{"payload_base64":"AP8="}"#, &defaults()).unwrap();
        assert_eq!(&bytes.payload()[..], [0, 255]);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("{", "EOF"),
            (r#"{"playload":1}"#, "unknown field `playload`, expected one of `topic`"),
            (r#"{"key":42}"#, "invalid type: integer `42`, expected a string (column 9)"),
            (r#"{"topic":"a b"}"#, "only A-Z"),
            (r#"{"payload":1,"payload_text":"x"}"#, "only one of"),
            (r#"{"payload_base64":"?"}"#, "not base64"),
            (r#"{"timestamp":"soon"}"#, "not RFC 3339"),
        ] {
            let error = read(line, &defaults()).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
            assert!(!error.contains("at line"), "{line}: {error}");
        }
        assert!(read("{}", &Defaults::default()).unwrap_err().contains("names no `topic`"));
    }

    fn read_again(envelope: &Envelope) -> Envelope {
        let position = eventbus::Position::new("test", Topic::from_static("orders"), 0, 7);
        let info = DeliveryInfo::new(position, 1, SystemTime::UNIX_EPOCH);
        let line = serde_json::to_string(&Printed::envelope(envelope, &info)).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        read(&line, &Defaults::default()).unwrap().1
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(
            text in ".{0,80}",
            name in "(topic|type|key|payload(_text|_base64)?|headers|id|version|timestamp|x)",
            value in "(\"[a-zA-Z0-9=.:+-]{0,12}\"|-?[0-9]{1,20}(\\.[0-9e]{1,4})?|null|\\{\\}|\\[\\])",
        ) {
            let field = format!("{{\"{name}\":{value}}}");
            for text in [text, field] {
                let _ = read(&text, &defaults());
                let topic = Topic::from_static("orders");
                let payload = of_payload(&text, &topic, &defaults());
                proptest::prop_assert_eq!(payload.payload().as_ref(), text.as_bytes());
            }
        }

        #[test]
        fn what_is_printed_is_read_again(
            payload in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
            json: bool,
            (event_type, key, header) in (".{1,10}", ".{0,10}", ".{0,10}"),
            version: u32,
        ) {
            let envelope = Envelope::new(event_type, payload)
                .with_content_type(if json { JSON } else { TEXT })
                .key(key)
                .with_header("h", header)
                .with_event_version(version);
            // Times are printed in microseconds.
            let time = humantime::parse_rfc3339(&rfc3339(envelope.timestamp())).unwrap();
            let envelope = envelope.with_timestamp(time);
            proptest::prop_assert_eq!(read_again(&envelope), envelope);
        }
    }
}
