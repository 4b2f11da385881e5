//! The one error of the crate, and the errors that hand an envelope or a delivery back.

mod publish;
mod receive;

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

pub use publish::{BatchError, BatchFailure, PublishError, PublishFailure};
pub use receive::{AckAllError, ReceiveError, SettleError};

/// What went wrong, for a program to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The in-flight window has no room and the caller did not want to wait.
    WindowFull,
    /// The bus or subscription is closed.
    Closed,
    /// The encoded envelope is larger than `max_envelope_bytes` or the broker's limit.
    TooLarge,
    /// A topic name or filter breaks the rules of [`Topic`](crate::Topic).
    InvalidTopic,
    /// An envelope lacks something, or its payload is not what the caller said.
    InvalidEnvelope,
    /// A URL, parameter or option has a bad value.
    InvalidConfig,
    /// No backend is registered for the scheme of a URL.
    UnknownScheme,
    /// The backend does not have the capability that the call needs.
    Unsupported,
    /// The topic does not exist and may not be created.
    TopicNotFound,
    /// A topic or stream exists with a configuration that does not fit.
    TopicConflict,
    /// The group exists with other options.
    GroupConflict,
    /// No acknowledgement came in time. Whether the broker stored the envelope is unknown.
    AckTimeout,
    /// The broker cannot be reached, or has no leader at the moment.
    Unavailable,
    /// The broker refused the request.
    Rejected,
    /// The credentials are missing or wrong.
    Unauthorized,
    /// The credentials are right and do not allow this.
    PermissionDenied,
    /// A delivery was settled after its `ack_wait`: it belongs to another attempt by now.
    Expired,
    /// Bytes that are no envelope.
    Undecodable,
    /// Retention removed messages before a reader had them.
    Truncated,
    /// Something that should not happen. Please report it.
    Unexpected,
}

impl ErrorKind {
    /// The kind in words, as shown in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WindowFull => "window full",
            Self::Closed => "closed",
            Self::TooLarge => "too large",
            Self::InvalidTopic => "invalid topic",
            Self::InvalidEnvelope => "invalid envelope",
            Self::InvalidConfig => "invalid configuration",
            Self::UnknownScheme => "unknown scheme",
            Self::Unsupported => "unsupported",
            Self::TopicNotFound => "topic not found",
            Self::TopicConflict => "topic conflict",
            Self::GroupConflict => "group conflict",
            Self::AckTimeout => "acknowledgement timeout",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::PermissionDenied => "permission denied",
            Self::Expired => "expired",
            Self::Undecodable => "undecodable",
            Self::Truncated => "truncated",
            Self::Unexpected => "unexpected",
        }
    }

    const fn status(self) -> Status {
        match self {
            Self::WindowFull | Self::Unavailable => Status::Temporary,
            Self::AckTimeout => Status::Ambiguous,
            _ => Status::Permanent,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Permanent,
    Temporary,
    Ambiguous,
}

/// An error of a bus: what kind, during which operation, on which backend, and why.
///
/// The message says what to do where something can be done. No secret is ever part of it.
#[derive(Clone)]
pub struct Error(Box<Parts>);

#[derive(Clone)]
struct Parts {
    kind: ErrorKind,
    status: Status,
    operation: &'static str,
    backend: &'static str,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`. Whether it is temporary or ambiguous follows
    /// from the kind, and can be changed by [`temporary`](Self::temporary) and
    /// [`ambiguous`](Self::ambiguous).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            status: kind.status(),
            operation: "",
            backend: "",
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// Names the operation, unless one is named already (the innermost knows best).
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        if self.0.operation.is_empty() {
            self.0.operation = operation;
        }
        self
    }

    /// Names the backend.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend = backend;
        self
    }

    /// Adds a fact. Never pass a secret.
    #[must_use]
    pub fn with_context(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Marks the error as temporary: the same call may succeed later.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.0.status = Status::Temporary;
        self
    }

    /// Marks the outcome as unknown: what was asked for may or may not have happened.
    #[must_use]
    pub fn ambiguous(mut self) -> Self {
        self.0.status = Status::Ambiguous;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later, and certainly did nothing now.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.status == Status::Temporary
    }

    /// Whether the outcome is unknown: publishing again may store the envelope twice,
    /// not publishing again may leave it unstored.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.0.status == Status::Ambiguous
    }

    /// The operation that failed, for example `publish`; empty when not known.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The backend that reported it, for example `nats`; empty for the engine itself.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.0.backend
    }

    /// The message without operation, backend and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts that belong to the error, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        match (parts.operation, parts.backend) {
            ("", "") => {}
            (operation, "") => write!(f, "{operation}: ")?,
            ("", backend) => write!(f, "{backend}: ")?,
            (operation, backend) => write!(f, "{operation} on {backend}: ")?,
        }
        write!(f, "{}: {}", parts.kind, parts.message)?;
        for (at, (name, value)) in parts.context.iter().enumerate() {
            write!(f, "{}{name} {value}", if at == 0 { " (" } else { ", " })?;
        }
        if !parts.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        f.debug_struct("Error")
            .field("kind", &parts.kind)
            .field("status", &parts.status)
            .field("operation", &parts.operation)
            .field("backend", &parts.backend)
            .field("message", &parts.message)
            .field("context", &parts.context)
            .field("source", &parts.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_operation_backend_and_facts() {
        let error = Error::new(ErrorKind::TopicNotFound, "create it first")
            .with_operation("publish")
            .with_operation("connect")
            .with_backend("memory")
            .with_context("topic", "a.b")
            .with_context("stream", "S");
        assert_eq!(
            error.to_string(),
            "publish on memory: topic not found: create it first (topic a.b, stream S)"
        );
    }

    #[test]
    fn status_follows_the_kind() {
        assert!(Error::new(ErrorKind::AckTimeout, "").is_ambiguous());
        assert!(Error::new(ErrorKind::WindowFull, "").is_temporary());
        assert!(!Error::new(ErrorKind::Closed, "").is_temporary());
        assert!(Error::new(ErrorKind::Rejected, "").temporary().is_temporary());
    }
}
