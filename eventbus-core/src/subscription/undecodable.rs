//! Messages that are no envelopes.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;

use super::{Claim, DeliveryInfo, dead_letter};
use crate::{
    Envelope, Error, SettleError,
    backend::{RawMessage, Settlement},
};

/// A message that is no envelope: its bytes, where it is, and why it could not be read. It
/// is settled like a [`Delivery`](crate::Delivery), and comes again if it is not.
#[must_use = "a message that is not settled is delivered again"]
pub struct Undecodable {
    raw: Raw,
    claim: Claim,
}

/// The message and what is wrong with it.
pub(crate) struct Raw {
    error: Error,
    message: RawMessage,
}

impl Raw {
    pub(super) fn new(error: Error, message: RawMessage) -> Self {
        Self { error, message }
    }

    pub(super) fn claimed(self, claim: Claim) -> Undecodable {
        Undecodable { raw: self, claim }
    }

    /// An envelope around the message, and the reason.
    pub(super) fn dead_letter(&self) -> (Envelope, String) {
        (self.envelope(), self.error.to_string())
    }

    fn envelope(&self) -> Envelope {
        let RawMessage { key, headers, payload } = &self.message;
        let mut envelope = Envelope::new(dead_letter::UNDECODABLE_TYPE, payload.clone());
        envelope = match key.as_ref().map(|key| (key, str::from_utf8(key))) {
            None => envelope,
            Some((_, Ok(key))) => envelope.key(key),
            Some((key, Err(_))) => envelope.with_header(dead_letter::NATIVE_KEY, shown(key)),
        };
        for (name, value) in headers {
            let name = format!("{}{name}", dead_letter::NATIVE_HEADER_PREFIX);
            envelope = envelope.with_header(name, shown(value));
        }
        envelope
    }
}

impl Undecodable {
    /// Why it could not be read.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.raw.error
    }

    /// The bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.raw.message.payload
    }

    /// The native key of a message of a raw topic.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        self.raw.message.key.as_ref()
    }

    /// The native headers of a message of a raw topic.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.raw.message.headers.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Topic, position, attempt and time.
    #[must_use]
    pub fn info(&self) -> &DeliveryInfo {
        self.claim.info()
    }

    /// Done with it, as [`Delivery::ack`](crate::Delivery::ack).
    ///
    /// # Errors
    /// Those of `Delivery::ack`, with the message.
    pub async fn ack(self) -> Result<(), SettleError<Self>> {
        self.settle(Settlement::Ack).await
    }

    /// Deliver it again, as [`Delivery::nack`](crate::Delivery::nack).
    ///
    /// # Errors
    /// Those of `Delivery::nack`, with the message.
    pub async fn nack(self, delay: Duration) -> Result<(), SettleError<Self>> {
        if self.claim.is_last_attempt() {
            return self.reject(dead_letter::EXHAUSTED).await;
        }
        self.settle(Settlement::Nack(delay)).await
    }

    /// Move it to the dead-letter topic, in an envelope of type
    /// [`dead_letter::UNDECODABLE_TYPE`], as [`Delivery::reject`](crate::Delivery::reject).
    ///
    /// # Errors
    /// Those of `Delivery::reject`, with the message.
    pub async fn reject(mut self, reason: impl AsRef<str> + Send) -> Result<(), SettleError<Self>> {
        let envelope = self.raw.envelope();
        match self.claim.discard(&envelope, reason.as_ref()).await {
            Ok(()) => Ok(()),
            Err(error) => Err(SettleError::new(error, self)),
        }
    }

    async fn settle(mut self, settlement: Settlement) -> Result<(), SettleError<Self>> {
        match self.claim.settle(settlement).await {
            Ok(()) => Ok(()),
            Err(error) => Err(SettleError::new(error, self)),
        }
    }
}

fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.escape_ascii().to_string().into(),
    }
}

impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecodable")
            .field("error", &self.raw.error)
            .field("bytes", &self.bytes().len())
            .field("info", self.info())
            .finish()
    }
}
