//! From errors of librdkafka to errors of the bus.

use eventbus_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::SCHEME;

/// Properties that name files, and the parameters behind them.
const TLS_FILES: [(&str, &str); 3] = [
    ("ssl.ca.location", "tls_ca"),
    ("ssl.certificate.location", "tls_cert"),
    ("ssl.key.location", "tls_key"),
];

/// An error of this backend.
pub(crate) fn error(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, message).with_backend(SCHEME)
}

/// What a code means.
pub(crate) fn from_code(code: Code) -> Error {
    use ErrorKind as K;
    let (kind, message) = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            (K::TopicNotFound, "the topic does not exist; create it, or set `provision=create`")
        }
        Code::InvalidTopic => (K::InvalidTopic, "the broker does not take this topic name"),
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => (
            K::TooLarge,
            "the message is larger than the topic allows; raise `max.message.bytes` of the topic",
        ),
        Code::Authentication | Code::SaslAuthenticationFailed => (
            K::Unauthorized,
            "the broker does not accept the credentials; check `user`, `password` and `sasl`",
        ),
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState | Code::SecurityDisabled => {
            (K::Unauthorized, "the broker does not take this way to authenticate")
        }
        Code::SSL => (K::Unavailable, "no TLS connection could be made"),
        Code::TopicAuthorizationFailed => (K::PermissionDenied, "no permission for the topic"),
        Code::GroupAuthorizationFailed => (K::PermissionDenied, "no permission for the group"),
        Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed => {
            (K::PermissionDenied, "no permission for the cluster")
        }
        Code::InconsistentGroupProtocol | Code::InvalidGroupId => (
            K::GroupConflict,
            "other members of the group use another protocol; this one needs cooperative-sticky",
        ),
        Code::FencedInstanceId | Code::Fenced => {
            (K::GroupConflict, "another member took this one's place")
        }
        Code::MessageTimedOut | Code::RequestTimedOut => {
            (K::AckTimeout, "no acknowledgement came in time, so whether it was stored is unknown")
        }
        Code::PurgeQueue | Code::PurgeInflight => {
            (K::Closed, "the producer was closed before the envelope had its verdict")
        }
        Code::QueueFull => (K::WindowFull, "the send queue is full"),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::NotController
        | Code::KafkaStorageError
        | Code::RebalanceInProgress
        | Code::ThrottlingQuotaExceeded => (K::Unavailable, "the broker cannot do it now"),
        Code::Fatal
        | Code::OutOfOrderSequenceNumber
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::UnknownProducerId
        | Code::ProducerFenced => (
            K::Unavailable,
            "the broker and the producer no longer agree on what was stored; a new producer is made",
        ),
        Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::PolicyViolation
        | Code::InvalidArgument => (K::InvalidConfig, "the broker does not take these settings"),
        _ => (K::Rejected, "the broker refused it"),
    };
    error(kind, message).with_context("kafka", code)
}

/// What an error of the client means.
pub(crate) fn from_kafka(kafka: &KafkaError) -> Error {
    match kafka {
        // Its text may hold a value, which may be a secret.
        KafkaError::ClientConfig(_, _, name, _) => error(
            ErrorKind::InvalidConfig,
            "librdkafka does not know this property, or not with this value",
        )
        .with_context("property", name),
        KafkaError::ClientCreation(reason) => not_created(reason),
        KafkaError::Canceled => error(ErrorKind::Closed, "the client was closed meanwhile"),
        KafkaError::AdminOp(code) => from_code(*code),
        other => match other.rdkafka_error_code() {
            Some(code) => from_code(code),
            None => {
                error(ErrorKind::Unexpected, "an error of librdkafka").with_context("kafka", other)
            }
        },
    }
}

/// Files are read when a client is made.
fn not_created(reason: &str) -> Error {
    let named = TLS_FILES.iter().find(|(native, _)| reason.contains(native));
    let refused = match named {
        Some((_, parameter)) => error(
            ErrorKind::InvalidConfig,
            "this TLS file cannot be used; it must be there and readable, in PEM, and a key and \
             its password must be those of the certificate",
        )
        .with_context("parameter", parameter),
        None => error(ErrorKind::InvalidConfig, "librdkafka refuses this configuration"),
    };
    refused.with_context("reason", reason)
}

/// The verdict of a message that was in the hands of librdkafka.
pub(crate) fn from_delivery(kafka: &KafkaError) -> Error {
    let error = from_kafka(kafka);
    match error.kind() {
        // It was refused, or never sent.
        ErrorKind::TopicNotFound
        | ErrorKind::TooLarge
        | ErrorKind::PermissionDenied
        | ErrorKind::InvalidTopic
        | ErrorKind::Unauthorized => error,
        ErrorKind::Rejected if kafka.rdkafka_error_code().is_some_and(is_refusal) => error,
        ErrorKind::Rejected => self::error(
            ErrorKind::Unexpected,
            "the broker or the client failed, so whether it was stored is unknown",
        )
        .with_context("kafka", kafka)
        .ambiguous(),
        _ => error.ambiguous(),
    }
}

/// Whether a broker that says so has looked at what was sent and stored nothing of it. Other codes
/// it may give when it fails halfway, such as the unknown one with a full disk.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidMessage
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord
            | Code::InvalidTimestamp
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
            | Code::UnsupportedVersion
            | Code::InvalidRequiredAcks
            | Code::InvalidRequest
    )
}

/// Whether trying again cannot help.
pub(crate) fn is_final(code: Code) -> bool {
    matches!(
        from_code(code).kind(),
        ErrorKind::PermissionDenied | ErrorKind::GroupConflict | ErrorKind::Unauthorized
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_errors_say_whether_it_may_be_stored() {
        let verdict = |code| from_delivery(&KafkaError::MessageProduction(code));
        assert!(verdict(Code::MessageTimedOut).is_ambiguous());
        assert!(verdict(Code::PurgeInflight).is_ambiguous());
        assert!(verdict(Code::NotEnoughReplicasAfterAppend).is_ambiguous());
        assert!(!verdict(Code::MessageSizeTooLarge).is_ambiguous());
        assert!(!verdict(Code::InvalidRecord).is_ambiguous());
        assert!(verdict(Code::Unknown).is_ambiguous());
        assert!(verdict(Code::KafkaStorageError).is_ambiguous());
        assert_eq!(verdict(Code::UnknownTopicOrPartition).kind(), ErrorKind::TopicNotFound);
    }

    #[test]
    fn configuration_errors_show_no_value() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("sasl.mechanisms", "PLAIN").set("security.protocol", "hunter2");
        let error = from_kafka(&config.create_native_config().err().unwrap());
        assert!(error.to_string().contains("security.protocol"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
