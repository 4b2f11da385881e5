//! The compact wire format: test vectors, round trips, and arbitrary bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use eventbus_core::{Envelope, ErrorKind};
use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
struct Vectors {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    hex: String,
    id: Uuid,
    timestamp_micros: u64,
    event_type: String,
    event_version: u32,
    #[serde(default)]
    source: String,
    aggregate_id: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<Uuid>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    content_type: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    payload_hex: String,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    hex: String,
    message: String,
}

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("wire-format.json")).unwrap()
}

impl Valid {
    fn envelope(&self) -> Envelope {
        let mut envelope = Envelope::new(&self.event_type, bytes(&self.payload_hex))
            .with_id(self.id)
            .with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(self.timestamp_micros))
            .with_event_version(self.event_version)
            .with_source(&self.source)
            .with_content_type(&self.content_type);
        if let Some(key) = &self.aggregate_id {
            envelope = envelope.key(key);
        }
        if let Some(id) = &self.correlation_id {
            envelope = envelope.with_correlation_id(id);
        }
        if let Some(id) = self.causation_id {
            envelope = envelope.with_causation_id(id);
        }
        if let (Some(parent), Some(state)) = (&self.traceparent, &self.tracestate) {
            envelope = envelope.with_trace(parent, state);
        }
        for (name, value) in &self.headers {
            envelope = envelope.with_header(name, value);
        }
        envelope
    }
}

#[test]
fn valid_vectors_are_read_and_written_alike() {
    for vector in vectors().valid {
        let envelope = vector.envelope();
        assert_eq!(hex(&envelope.to_bytes()), vector.hex.replace(' ', ""), "{}", vector.name);
        assert_eq!(Envelope::from_bytes(bytes(&vector.hex)).unwrap(), envelope, "{}", vector.name);
    }
}

#[test]
fn invalid_vectors_are_refused() {
    for vector in vectors().invalid {
        let error = Envelope::from_bytes(bytes(&vector.hex)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable, "{}", vector.name);
        assert!(error.to_string().contains(&vector.message), "{}: {error}", vector.name);
    }
}

#[test]
fn every_prefix_of_a_header_is_refused() {
    let vectors = vectors().valid;
    let full = vectors.iter().find(|vector| vector.name == "every field").unwrap();
    let encoded = bytes(&full.hex);
    let header = encoded.len() - full.payload_hex.len() / 2;
    for len in 0..header {
        let error = Envelope::from_bytes(encoded.slice(..len)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Undecodable, "{len}");
    }
}

prop_compose! {
    fn envelopes()(
        event_type in ".*",
        source in ".*",
        key in proptest::option::of(".*"),
        correlation in proptest::option::of(".*"),
        causation in proptest::option::of(any::<u128>()),
        trace in proptest::option::of((".*", ".*")),
        content_type in prop_oneof![Just("application/json".to_owned()), ".*".boxed()],
        headers in proptest::collection::vec((".{0,40}", ".{0,200}"), 0..6),
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        version in any::<u32>(),
        micros in 0..=i64::MAX as u64,
        id in any::<u128>(),
    ) -> Envelope {
        let mut envelope = Envelope::new(event_type, payload)
            .with_id(Uuid::from_u128(id))
            .with_source(source)
            .with_event_version(version)
            .with_content_type(content_type)
            .with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
        if let Some(key) = key {
            envelope = envelope.key(key);
        }
        if let Some(id) = correlation {
            envelope = envelope.with_correlation_id(id);
        }
        if let Some(id) = causation {
            envelope = envelope.with_causation_id(Uuid::from_u128(id));
        }
        if let Some((parent, state)) = trace {
            envelope = envelope.with_trace(parent, state);
        }
        for (name, value) in headers {
            envelope = envelope.with_header(name, value);
        }
        envelope
    }
}

proptest! {
    #[test]
    fn round_trip(envelope in envelopes()) {
        let encoded = envelope.to_bytes();
        prop_assert_eq!(encoded.len(), envelope.encoded_len());
        prop_assert_eq!(Envelope::from_bytes(encoded).unwrap(), envelope);
    }

    #[test]
    fn any_bytes_are_survived(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Envelope::from_bytes(noise.into());
    }

    #[test]
    fn any_bytes_behind_a_version_are_survived(
        mut noise in proptest::collection::vec(any::<u8>(), 2..300),
    ) {
        noise[0] = 0xE1;
        noise[1] &= 0x7F;
        if let Ok(envelope) = Envelope::from_bytes(noise.into()) {
            let again = Envelope::from_bytes(envelope.to_bytes()).unwrap();
            prop_assert_eq!(again, envelope);
        }
    }

    #[test]
    fn changed_bytes_are_survived(envelope in envelopes(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut encoded = envelope.to_bytes().to_vec();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        let _ = Envelope::from_bytes(encoded.into());
    }
}
