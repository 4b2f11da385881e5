//! From what NATS says to errors.

use std::{error::Error as _, io};

use async_nats::ConnectErrorKind;
use eventbus_core::{Error, ErrorKind};
use serde::Deserialize;

use crate::{SCHEME, tls};

/// The first version whose consumers take several filters, and can be created without
/// changing one that exists.
const OLDEST_SERVER: (u32, u32) = (2, 10);
/// Where acknowledgements of deliveries go.
const ACKS: &str = "$JS.ACK.";

/// What the JetStream API answers instead of a result.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

pub(crate) const CONSUMER_NOT_FOUND: u32 = 10014;
pub(crate) const CONSUMER_NAME_EXISTS: u32 = 10013;
pub(crate) const CONSUMER_EXISTS: u32 = 10148;
pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
pub(crate) const STREAM_NAME_EXISTS: u32 = 10058;
pub(crate) const STREAM_OVERLAP: u32 = 10065;
pub(crate) const UNKNOWN_BATCH: u32 = 10208;
/// Disabled, or not understood.
pub(crate) const NO_BATCHES: [u32; 3] = [10205, 10206, 10207];
pub(crate) const TOO_MANY_BATCHES: u32 = 10211;
const NO_ATOMIC_BATCHES: u32 = 10174;
const ATOMIC_BATCH_INCOMPLETE: u32 = 10176;
const ATOMIC_BATCH_TOO_LARGE: u32 = 10199;
const TOO_MANY_ATOMIC_BATCHES: u32 = 10210;
pub(crate) const NO_MESSAGE_FOUND: u32 = 10037;
const MESSAGE_TOO_LARGE: u32 = 10054;
const STORE_FAILED: u32 = 10077;
const JETSTREAM_OFF: [u32; 2] = [10039, 10076];
/// No leader, no quorum, not assigned yet: it passes.
const CLUSTER_TROUBLE: [u32; 6] = [10004, 10005, 10007, 10008, 10009, 10041];

impl Refusal {
    /// Nothing was done: the server says so.
    pub(crate) fn into_error(self) -> Error {
        let error = match self.err_code {
            STREAM_NOT_FOUND => error(
                ErrorKind::TopicNotFound,
                "the stream does not exist; create it, or connect with `provision=create`",
            ),
            MESSAGE_TOO_LARGE => {
                error(ErrorKind::TooLarge, "the message is larger than the stream's `max_msg_size`")
            }
            CONSUMER_NOT_FOUND => error(ErrorKind::Unexpected, "the consumer does not exist"),
            STORE_FAILED => error(
                ErrorKind::Rejected,
                "the stream did not store the message, most likely because it is full and set \
                 to refuse new messages",
            ),
            TOO_MANY_BATCHES | TOO_MANY_ATOMIC_BATCHES => {
                error(ErrorKind::Unavailable, "too many batches are open at the server")
            }
            NO_ATOMIC_BATCHES => error(
                ErrorKind::Unsupported,
                "the stream takes no atomic batches; set its `allow_atomic`",
            ),
            ATOMIC_BATCH_INCOMPLETE => error(
                ErrorKind::Unavailable,
                "the server did not get all of the atomic batch, so nothing of it is stored",
            ),
            ATOMIC_BATCH_TOO_LARGE => error(
                ErrorKind::TooLarge,
                "the atomic batch has more messages than the server takes; split it, or raise \
                 the server's `max_batch_size`",
            ),
            code if NO_BATCHES.contains(&code) => error(
                ErrorKind::Rejected,
                "the stream takes no batches; set its `allow_batched`, or connect with \
                 `fast_ingest=auto`",
            ),
            code if JETSTREAM_OFF.contains(&code) => error(
                ErrorKind::Unavailable,
                "JetStream is not enabled at this server or for this account",
            ),
            code if CLUSTER_TROUBLE.contains(&code) || (self.code == 503 && code != 0) => {
                error(ErrorKind::Unavailable, "JetStream cannot do this at the moment")
            }
            _ => error(ErrorKind::Rejected, "the server refused it"),
        };
        error.with_context("server:", self.description).with_context("err_code", self.err_code)
    }
}

pub(crate) fn error(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, message).with_backend(SCHEME)
}

pub(crate) fn not_connected() -> Error {
    error(ErrorKind::Unavailable, "there is no connection to a server at the moment")
}

pub(crate) fn closed() -> Error {
    error(ErrorKind::Closed, "the bus is closed; connect a new one")
}

pub(crate) fn no_responders() -> Error {
    error(
        ErrorKind::Unavailable,
        "no stream answers for this subject: it has no leader at the moment, or JetStream is off",
    )
}

pub(crate) fn connection_lost() -> Error {
    error(
        ErrorKind::Unavailable,
        "the connection was lost before the acknowledgement came, so whether it was stored is \
         unknown; look for its id before publishing it again, or publish idempotently",
    )
    .ambiguous()
}

pub(crate) fn unreadable_ack() -> Error {
    error(ErrorKind::Unexpected, "the acknowledgement cannot be read").ambiguous()
}

pub(crate) fn batch_forgotten() -> Error {
    error(
        ErrorKind::Unavailable,
        "the server forgot the batch before it acknowledged this message, so whether it was stored \
         is unknown; look for its id before publishing it again, or publish idempotently",
    )
    .ambiguous()
}

/// Why connecting to `server` failed. The text of the client never has credentials, because
/// they are not part of the address that it is given.
pub(crate) fn connect(
    server: &str,
    failure: &async_nats::ConnectError,
    has_certificate: bool,
) -> Error {
    let text = failure.to_string();
    let error = match failure.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => error(
            ErrorKind::Unauthorized,
            "the server refused the credentials; check user, password, token, `credentials` or \
             `nkey`",
        ),
        ConnectErrorKind::ServerParse => error(
            ErrorKind::InvalidConfig,
            "a server reads `host` or `host:port`, with an IPv6 address in brackets",
        ),
        ConnectErrorKind::Tls if text.contains("could not add certificate or key") => error(
            ErrorKind::InvalidConfig,
            "`tls_key` is not the key of the certificate in `tls_cert`",
        ),
        ConnectErrorKind::Tls => error(ErrorKind::Unavailable, "TLS could not be set up"),
        ConnectErrorKind::TimedOut => {
            error(ErrorKind::Unavailable, "the server did not answer within `connect_timeout`")
        }
        _ => tls::explain(failure, has_certificate).unwrap_or_else(|| unreachable(failure)),
    };
    error.with_context("server", server).with_context("client:", text)
}

fn unreachable(failure: &async_nats::ConnectError) -> Error {
    let io = failure.source().and_then(|source| source.downcast_ref::<io::Error>());
    let message = match io.map(io::Error::kind) {
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof,
        ) => {
            "the server closed the connection while it was set up; its log says why (it may want \
             TLS before its greeting, `tls_first`, or a client certificate, `tls_cert`)"
        }
        _ => "the server cannot be reached",
    };
    error(ErrorKind::Unavailable, message)
}

/// Whether a server is too old for what is asked of it here. A version that cannot be read is
/// given the benefit of the doubt.
pub(crate) fn check_version(server: &str, version: &str) -> Result<(), Error> {
    if is_at_least(version, OLDEST_SERVER) {
        return Ok(());
    }
    Err(error(
        ErrorKind::Unsupported,
        "the server is too old; upgrade it to nats-server 2.10 or newer",
    )
    .with_context("version", version)
    .with_context("server", server))
}

/// Whether a server's version is one of these or newer, or cannot be read.
pub(crate) fn is_at_least(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(found), Some(point)) => (found, point) >= (major, minor),
        _ => true,
    }
}

/// The server's word that this connection may not publish or subscribe to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) publish: bool,
    pub(crate) subject: String,
}

impl Violation {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let publish = lower.contains("permissions violation for publish");
        if !publish && !lower.contains("permissions violation for subscription") {
            return None;
        }
        let subject = text.split('"').nth(1)?.to_owned();
        Some(Self { publish, subject })
    }

    /// Whether it is about acknowledging what this consumer delivers.
    pub(crate) fn is_ack_of(&self, stream: &str, consumer: &str) -> bool {
        // Newer servers put domain and account before the two.
        self.publish
            && self.subject.starts_with(ACKS)
            && self.subject.contains(&format!(".{stream}.{consumer}."))
    }

    pub(crate) fn into_error(self) -> Error {
        let message = if self.publish && self.subject.starts_with(ACKS) {
            "the user may not acknowledge; allow it to publish to `$JS.ACK.>`"
        } else if self.publish {
            "the user may not publish to this subject; extend its permissions"
        } else {
            "the user may not subscribe to this subject; extend its permissions, or set \
             `inbox_prefix` to what it may"
        };
        error(ErrorKind::PermissionDenied, message).with_context("subject", self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_are_read() {
        let text = "nats: Permissions Violation for Publish to \"eb.orders\"";
        let expected = Violation { publish: true, subject: "eb.orders".to_owned() };
        assert_eq!(Violation::parse(text), Some(expected));
        let text = "Permissions Violation for Subscription to \"_INBOX.a.*\"";
        assert!(!Violation::parse(text).unwrap().publish);
        assert_eq!(Violation::parse("nats: maximum payload exceeded"), None);
    }

    #[test]
    fn a_violation_belongs_to_one_consumer() {
        for subject in ["$JS.ACK.S.c.1.2.3.4.5", "$JS.ACK._.hash.S.c.1.2.3.4.5.6"] {
            let violation = Violation { publish: true, subject: subject.to_owned() };
            assert!(violation.is_ack_of("S", "c"));
            assert!(!violation.is_ack_of("S", "other"));
            assert!(violation.into_error().to_string().contains("acknowledge"));
        }
        let other = Violation { publish: true, subject: "eb.S.c.1".to_owned() };
        assert!(!other.is_ack_of("S", "c"));
    }

    #[test]
    fn old_servers_are_told_from_new_ones() {
        for version in ["2.2.6", "2.9.25", "1.4.1", "2.9.0-beta.1"] {
            let error = check_version("a:4222", version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(!error.is_temporary());
            assert!(error.to_string().contains(version) && error.to_string().contains("2.10"));
        }
        for version in ["2.10.0", "2.10.0-beta.1", "2.15.2", "3.0.0", "", "custom", "2"] {
            assert!(check_version("a:4222", version).is_ok(), "{version}");
        }
    }

    #[test]
    fn refusals_are_typed() {
        for (code, err_code, kind, temporary) in [
            (404, 10059, ErrorKind::TopicNotFound, false),
            (503, 10077, ErrorKind::Rejected, false),
            (400, 10054, ErrorKind::TooLarge, false),
            (503, 10008, ErrorKind::Unavailable, true),
            (503, 10039, ErrorKind::Unavailable, true),
            (400, 10071, ErrorKind::Rejected, false),
        ] {
            let refusal = Refusal { code, err_code, description: "why".to_owned() };
            let error = refusal.into_error();
            assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{err_code}");
        }
    }
}
