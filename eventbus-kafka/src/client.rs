//! What all clients of librdkafka do: log, and remember what is wrong with the brokers.

use std::sync::{Arc, Mutex, PoisonError};

use eventbus_core::Error;
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    statistics::Statistics,
};

use crate::error;

/// What is wrong with the connection of one client, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<(RDKafkaErrorCode, String)>>>);

impl Trouble {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(RDKafkaErrorCode, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut last = self.lock();
        let keeps = |known: &(RDKafkaErrorCode, String)| error::is_final(known.0);
        // A wrong password also makes all brokers unreachable, which says less.
        if !last.as_ref().is_some_and(keeps) || error::is_final(code) {
            *last = Some((code, reason.to_owned()));
        }
    }

    /// The client got through.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    /// In words.
    pub(crate) fn describe(&self) -> Option<String> {
        self.lock().as_ref().map(|(_, reason)| reason.clone())
    }

    /// The error that trying again cannot help against.
    pub(crate) fn final_error(&self) -> Option<Error> {
        let last = self.lock();
        let (code, reason) = last.as_ref().filter(|(code, _)| error::is_final(*code))?;
        Some(error::from_code(*code).with_context("reason", reason))
    }
}

/// Sends what librdkafka logs to `tracing`.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // About properties that are for the other kind of client.
        _ if facility == "CONFWARN" => tracing::trace!(facility, "{message}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "{message}");
        }
        // A broker that is down is an error to librdkafka at each attempt; the bus gets over it.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
    }
}

/// Notes an error that concerns a whole client.
pub(crate) fn note(trouble: &Trouble, kafka: &KafkaError, reason: &str) {
    tracing::debug!(%kafka, reason, "librdkafka reports trouble");
    if let Some(code) = kafka.rdkafka_error_code() {
        trouble.note(code, reason);
    }
}

/// The context of clients that do nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlainContext(pub(crate) Trouble);

impl ClientContext for PlainContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, kafka: KafkaError, reason: &str) {
        note(&self.0, &kafka, reason);
    }

    fn stats(&self, _: Statistics) {}
}
