//! Raw topics: envelopes as NATS messages with headers.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use eventbus_core::{
    Envelope, Error, ErrorKind, Topic,
    backend::{RawMessage, raw_headers},
};

use crate::{
    error,
    headers::{is_name, is_servers_own},
};

/// Refuses what no NATS message can carry.
pub(crate) fn check(envelope: &Envelope, topic: &Topic, key_header: &str) -> Result<(), Error> {
    if let Some(key) = envelope.aggregate_id() {
        check_value(key_header, key)?;
    }
    for (name, _) in envelope.headers().iter() {
        if name == key_header {
            return Err(refused("this header holds the key; set the key instead", name));
        }
        if !is_name(name) {
            let message = "the name of a NATS header is printable ASCII without spaces and colons";
            return Err(refused(message, name));
        }
        if is_servers_own(name) {
            return Err(refused("headers `Nats-…` are instructions to the server", name));
        }
    }
    raw_headers(envelope, topic).iter().try_for_each(|(name, value)| check_value(name, value))
}

fn check_value(name: &str, value: &str) -> Result<(), Error> {
    // Readers take off what is around the value.
    if value.contains(['\r', '\n']) || value.trim() != value {
        let message = "the value of a NATS header has no line breaks, and no space around it";
        return Err(refused(message, name));
    }
    Ok(())
}

fn refused(message: &'static str, header: &str) -> Error {
    error::error(ErrorKind::InvalidEnvelope, message).with_context("header", format!("{header:?}"))
}

/// The headers of an envelope that was checked.
pub(crate) fn headers(envelope: &Envelope, topic: &Topic, key_header: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(key) = envelope.aggregate_id() {
        headers.insert(key_header, key);
    }
    for (name, value) in raw_headers(envelope, topic) {
        headers.insert(name, &*value);
    }
    headers
}

/// Takes a message apart. NATS keeps no order among headers of different names, so they are
/// sorted.
pub(crate) fn read(message: &Message, key_header: &str) -> RawMessage {
    let mut raw = RawMessage::new(message.payload.clone());
    let Some(headers) = &message.headers else { return raw };
    let mut all: Vec<_> = headers.iter().map(|(name, values)| (name.as_ref(), values)).collect();
    all.sort_unstable_by_key(|(name, _): &(&str, _)| *name);
    for (name, values) in all {
        if is_servers_own(name) {
            continue;
        }
        for value in values {
            let value = Bytes::copy_from_slice(value.as_ref());
            if name == key_header {
                raw.key = Some(value);
            } else {
                raw.headers.push((name.to_owned(), value));
            }
        }
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Topic = Topic::from_static("legacy.orders");

    #[test]
    fn what_nats_cannot_carry_is_refused_by_name() {
        let envelope = || Envelope::new("t", "");
        assert!(
            check(&envelope().key("k").with_header("X-Tenant", "ä b"), &TOPIC, "eb-key").is_ok()
        );
        for (envelope, named) in [
            (envelope().with_header("", "x"), "\"\""),
            (envelope().with_header("a:b", "x"), "a:b"),
            (envelope().with_header("a b", "x"), "a b"),
            (envelope().with_header("ä", "x"), "ä"),
            (envelope().with_header("x", "a\r\nb"), "\"x\""),
            (envelope().with_header("x", " a"), "\"x\""),
            (envelope().with_header("nats-Rollup", "all"), "nats-Rollup"),
            (envelope().with_header("eb-key", "a"), "eb-key"),
            (envelope().key("a\n"), "eb-key"),
            (envelope().with_source("a\rb"), "eb-source"),
            (Envelope::new("t\n", ""), "eb-type"),
        ] {
            let error = check(&envelope, &TOPIC, "eb-key").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidEnvelope);
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
    }
}
