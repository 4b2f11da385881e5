//! Raw topics: envelopes as Kafka records with key and headers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use eventbus_core::{
    Envelope, Error, ErrorKind, Topic,
    backend::{RawMessage, raw_headers},
};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};

use crate::error::error;

/// Refuses what librdkafka does not read back as it was.
pub(crate) fn check(envelope: &Envelope) -> Result<(), Error> {
    match envelope.headers().iter().find(|(name, _)| name.contains('\0')) {
        None => Ok(()),
        Some((name, _)) => {
            let message = "the name of a Kafka header has no NUL character";
            Err(error(ErrorKind::InvalidEnvelope, message)
                .with_context("header", format!("{name:?}")))
        }
    }
}

/// The headers of an envelope.
pub(crate) fn headers(envelope: &Envelope, topic: &Topic) -> OwnedHeaders {
    let all = raw_headers(envelope, topic);
    all.iter().fold(OwnedHeaders::new_with_capacity(all.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_bytes()) })
    })
}

/// Takes a record apart, whose payload was copied already. A header or a payload that is null
/// is taken for an empty one.
pub(crate) fn read(record: &BorrowedMessage<'_>, payload: Bytes) -> RawMessage {
    let mut raw = RawMessage::new(payload);
    raw.key = record.key().map(Bytes::copy_from_slice);
    if let Some(headers) = record.headers() {
        for at in 0..headers.count() {
            // rdkafka panics at a name that is not UTF-8, which the protocol forbids.
            let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(at)));
            let (name, value) = match header {
                Ok(Some(header)) => (header.key, header.value.unwrap_or_default()),
                Ok(None) => continue,
                // No text either, so that the message is reported as undecodable.
                Err(_) => ("a header whose name is not UTF-8", &b"\xff"[..]),
            };
            raw.headers.push((name.to_owned(), Bytes::copy_from_slice(value)));
        }
    }
    raw
}
