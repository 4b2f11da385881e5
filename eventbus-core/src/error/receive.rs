//! Errors of receiving and settling.

use std::{error::Error as StdError, fmt};

use crate::{Delivery, Error, ErrorKind, Undecodable};

/// What a subscription yields when the application must act. Temporary trouble is never
/// an item: it is retried inside, logged, and visible in the health.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The subscription cannot go on; the stream ends after this.
    Terminal(Error),
    /// Retention removed messages before this subscription had them; it goes on behind the gap.
    Truncated(Error),
    /// A message that is no envelope. It must be settled like a delivery.
    Undecodable(Box<Undecodable>),
}

impl ReceiveError {
    /// The error inside.
    #[must_use]
    pub fn error(&self) -> &Error {
        match self {
            Self::Terminal(error) | Self::Truncated(error) => error,
            Self::Undecodable(message) => message.error(),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.error().kind()
    }
}

impl From<ReceiveError> for Error {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Terminal(error) | ReceiveError::Truncated(error) => error,
            ReceiveError::Undecodable(message) => message.error().clone(),
        }
    }
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl StdError for ReceiveError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}

/// The deliveries of [`Delivery::ack_all`] that could not be acknowledged; the others were.
#[derive(Debug)]
pub struct AckAllError(Vec<SettleError>);

impl AckAllError {
    /// An error from what failed.
    #[must_use]
    pub fn new(failures: Vec<SettleError>) -> Self {
        Self(failures)
    }

    /// What failed, in the order of the deliveries.
    #[must_use]
    pub fn failures(&self) -> &[SettleError] {
        &self.0
    }

    /// Takes what failed, for example to acknowledge it again.
    #[must_use]
    pub fn into_failures(self) -> Vec<SettleError> {
        self.0
    }
}

impl From<AckAllError> for Error {
    /// The first error, with how many there are.
    fn from(error: AckAllError) -> Self {
        let failed = error.0.len();
        let Some(first) = error.0.into_iter().next() else {
            return Self::new(ErrorKind::Unexpected, "acknowledging failed without a failure");
        };
        Self::from(first).with_context("failed", failed)
    }
}

impl fmt::Display for AckAllError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deliveries were not acknowledged", self.0.len())?;
        match self.0.first() {
            Some(first) => write!(f, "; the first: {first}"),
            None => Ok(()),
        }
    }
}

impl StdError for AckAllError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.first().map(|first| first as &(dyn StdError + 'static))
    }
}

/// A settlement that failed, with the delivery given back so that it can be tried again.
pub struct SettleError<D = Delivery>(Box<(Error, D)>);

impl<D> SettleError<D> {
    /// Puts an error and the delivery that it concerns together.
    #[must_use]
    pub fn new(error: Error, delivery: D) -> Self {
        Self(Box::new((error, delivery)))
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// What kind of error it is; [`ErrorKind::Expired`] means that it will be, or was, redelivered,
    /// unless the error [is ambiguous](Error::is_ambiguous).
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.0.kind()
    }

    /// The delivery, still unsettled.
    #[must_use]
    pub fn delivery(&self) -> &D {
        &self.0.1
    }

    /// Takes the error and the delivery apart.
    #[must_use]
    pub fn into_parts(self) -> (Error, D) {
        *self.0
    }
}

impl<D> From<SettleError<D>> for Error {
    fn from(error: SettleError<D>) -> Self {
        error.0.0
    }
}

impl<D> fmt::Display for SettleError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<D> fmt::Debug for SettleError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SettleError").field(self.error()).finish()
    }
}

impl<D> StdError for SettleError<D> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}
