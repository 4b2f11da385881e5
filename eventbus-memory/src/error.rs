//! The errors of this backend.

use eventbus_core::{Error, ErrorKind, Topic};

use crate::SCHEME;

pub(crate) fn error(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, message).with_backend(SCHEME)
}

pub(crate) fn invalid_config(message: &'static str) -> Error {
    error(ErrorKind::InvalidConfig, message)
}

pub(crate) fn topic_not_found(topic: &Topic) -> Error {
    error(
        ErrorKind::TopicNotFound,
        "the topic does not exist; create it with `ensure_topic`, or use `provision=create`",
    )
    .with_context("topic", topic)
}

pub(crate) fn group_conflict() -> Error {
    error(
        ErrorKind::GroupConflict,
        "the group exists with other options; use the same ones, or another group name",
    )
}

pub(crate) fn second_cumulative_member() -> Error {
    error(
        ErrorKind::GroupConflict,
        "the group acknowledges cumulatively, so it can have only one subscriber, and has one",
    )
}

pub(crate) fn truncated(topic: &Topic, lost: u64, next: u64) -> Error {
    error(
        ErrorKind::Truncated,
        "retention removed messages before this subscription had them; read faster, or raise \
         `retention_bytes`",
    )
    .with_context("topic", topic)
    .with_context("lost", lost)
    .with_context("goes on at", next)
}

pub(crate) fn expired() -> Error {
    error(
        ErrorKind::Expired,
        "the message was settled already, or its `ack_wait` is over and it is delivered again; \
         extend it, or raise `ack_wait`",
    )
}

pub(crate) fn closed() -> Error {
    error(
        ErrorKind::Closed,
        "the bus was closed before the message was settled; it is delivered again",
    )
}

pub(crate) fn closed_before_storing() -> Error {
    error(ErrorKind::Closed, "the bus was closed before the envelope was stored")
}
