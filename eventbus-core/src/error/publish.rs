//! Errors of publishing: each holds the envelope that was not stored, so nothing is lost.

use std::{error::Error as StdError, fmt};

use crate::{Envelope, Error, ErrorKind, Receipt, Topic, envelope::Encoded};

/// An envelope that was refused or not stored, with the reason.
#[derive(Clone)]
pub struct PublishError(Box<(Error, Envelope)>);

impl PublishError {
    /// Puts an error and the envelope that it concerns together.
    #[must_use]
    pub fn new(error: Error, envelope: Envelope) -> Self {
        Self(Box::new((error, envelope)))
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// What kind of error it is; short for `error().kind()`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.0.kind()
    }

    /// The envelope, unchanged.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.0.1
    }

    /// Takes the error and the envelope apart, for example to publish it elsewhere.
    #[must_use]
    pub fn into_parts(self) -> (Error, Envelope) {
        *self.0
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        error.0.0
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl fmt::Debug for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError")
            .field("error", self.error())
            .field("id", &self.envelope().id())
            .finish_non_exhaustive()
    }
}

impl StdError for PublishError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error().source()
    }
}

/// One envelope of a batch that was not stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchFailure {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why, with the envelope.
    pub error: PublishError,
}

/// A batch of which at least one envelope was not stored.
#[derive(Debug, Clone)]
pub struct BatchError {
    failures: Vec<BatchFailure>,
    receipts: Vec<(usize, Receipt)>,
}

impl BatchError {
    /// A batch error from the failed and the stored entries, each with its index.
    #[must_use]
    pub fn new(
        failures: impl IntoIterator<Item = (usize, PublishError)>,
        receipts: impl IntoIterator<Item = (usize, Receipt)>,
    ) -> Self {
        let failures = failures.into_iter().map(|(index, error)| BatchFailure { index, error });
        Self { failures: failures.collect(), receipts: receipts.into_iter().collect() }
    }

    /// The failed envelopes, by ascending index.
    #[must_use]
    pub fn failures(&self) -> &[BatchFailure] {
        &self.failures
    }

    /// The receipts of the others, by ascending index.
    #[must_use]
    pub fn receipts(&self) -> &[(usize, Receipt)] {
        &self.receipts
    }

    /// The failed envelopes alone, for example to publish them again.
    #[must_use]
    pub fn into_failures(self) -> Vec<BatchFailure> {
        self.failures
    }
}

impl From<BatchError> for Error {
    /// The error of the first failure, with how many there are.
    fn from(batch: BatchError) -> Self {
        let (failed, total) = (batch.failures.len(), batch.failures.len() + batch.receipts.len());
        let Some(first) = batch.failures.into_iter().next() else {
            return Self::new(ErrorKind::Unexpected, "a batch failed without a failure");
        };
        Self::from(first.error).with_context("failed", format_args!("{failed} of {total}"))
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.failures.len() + self.receipts.len();
        write!(f, "{} of {total} envelopes were not stored", self.failures.len())?;
        if let Some(first) = self.failures.first() {
            write!(f, "; the first, at index {}: {}", first.index, first.error)?;
        }
        Ok(())
    }
}

impl StdError for BatchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.failures.first().map(|first| &first.error as &(dyn StdError + 'static))
    }
}

/// What the failure handler gets: an accepted envelope that nobody waits for any more
/// and that was not, or not certainly, stored.
#[derive(Clone)]
pub struct PublishFailure {
    topic: Topic,
    error: Error,
    encoded: Encoded,
}

impl PublishFailure {
    /// A failure as a failure handler gets it, for example to test one.
    #[must_use]
    pub fn new(topic: Topic, error: Error, envelope: &Envelope) -> Self {
        Self::encoded(topic, error, envelope.encode())
    }

    pub(crate) fn encoded(topic: Topic, error: Error, encoded: Encoded) -> Self {
        Self { topic, error, encoded }
    }

    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Why it failed. Ask [`Error::is_ambiguous`] before publishing it again.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The envelope. In flight only its encoded bytes are kept, so this decodes them.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        self.encoded.decode()
    }

    pub(crate) fn into_publish_error(self) -> PublishError {
        let envelope = self.encoded.decode();
        PublishError::new(self.error, envelope)
    }
}

impl fmt::Display for PublishFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not published to {}: {}", self.encoded.id(), self.topic, self.error)
    }
}

impl fmt::Debug for PublishFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishFailure")
            .field("topic", &self.topic)
            .field("id", &self.encoded.id())
            .field("error", &self.error)
            .finish()
    }
}
