//! Dead letters: what is added to an envelope that moves to a dead-letter topic.
//!
//! A dead letter is the original envelope, same id and payload, with these headers. Moving
//! happens at least once: look at the id before acting on a dead letter twice.

use super::DeliveryInfo;
use crate::Envelope;

/// Header: why it was moved.
pub const REASON: &str = "eventbus-dead-letter-reason";
/// Header: how many attempts it had.
pub const ATTEMPTS: &str = "eventbus-dead-letter-attempts";
/// Header: the topic that it came from.
pub const TOPIC: &str = "eventbus-dead-letter-topic";
/// Header: its position in that topic, as text.
pub const POSITION: &str = "eventbus-dead-letter-position";
/// Header: the group that gave up on it.
pub const GROUP: &str = "eventbus-dead-letter-group";

/// Header: the native key of a raw message that could not be read, if it is no text; what is
/// no printable ASCII is escaped as `\xff`.
pub const NATIVE_KEY: &str = "eventbus-native-key";
/// What stands before the names of the native headers of a raw message that could not be
/// read. Values that are no text are escaped as `\xff`.
pub const NATIVE_HEADER_PREFIX: &str = "eventbus-native-header-";

/// The reason of messages that had `max_attempts`.
pub const EXHAUSTED: &str = "all attempts failed";
/// The type of the envelope around a message that is no envelope.
pub const UNDECODABLE_TYPE: &str = "eventbus.undecodable";

/// A reason longer than this is cut, to keep dead letters within the broker's limit.
const MAX_REASON_BYTES: usize = 8 << 10;

pub(super) fn letter(
    envelope: &Envelope,
    info: &DeliveryInfo,
    group: Option<&str>,
    reason: &str,
) -> Envelope {
    let ends = reason.char_indices().map(|(start, c)| start + c.len_utf8());
    let end = ends.take_while(|end| *end <= MAX_REASON_BYTES).last().unwrap_or(0);
    let reason = &reason[..end];
    let letter = envelope
        .clone()
        .with_header(REASON, reason)
        .with_header(ATTEMPTS, info.attempt.to_string())
        .with_header(TOPIC, info.topic())
        .with_header(POSITION, info.position.to_string());
    match group {
        Some(group) => letter.with_header(GROUP, group),
        None => letter,
    }
}
