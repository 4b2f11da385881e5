//! Why a scenario failed.

use std::{error::Error as StdError, fmt, panic::Location};

/// What a scenario returns.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// The reason why a scenario failed and the place in it. Made from any error by `?`.
pub struct Failure {
    message: String,
    at: Option<&'static Location<'static>>,
}

impl Failure {
    /// A failure at the place of the caller.
    #[must_use]
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self::at(Location::caller(), message)
    }

    /// The same failure, at a place that says more.
    pub(crate) fn moved_to(self, at: &'static Location<'static>) -> Self {
        Self::at(at, self.message)
    }

    pub(crate) fn at(at: &'static Location<'static>, message: impl Into<String>) -> Self {
        Self { message: message.into(), at: Some(at) }
    }

    /// A panic whose message names the place.
    pub(crate) fn panicked(message: String) -> Self {
        Self { message, at: None }
    }
}

impl<E: StdError> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::at(Location::caller(), message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.at {
            Some(at) => write!(f, "\n    at {at}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
