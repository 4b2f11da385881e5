//! What all clients of librdkafka do: log, and remember what is wrong with the brokers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use eventbus_core::{Error, ErrorKind};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    statistics::Statistics,
};

use crate::{
    diagnosis::{Diagnosis, diagnose},
    error,
};

/// What is wrong with the connection of one client, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<Noted>>>);

#[derive(Debug)]
struct Noted {
    code: Option<RDKafkaErrorCode>,
    reason: String,
    diagnosis: Option<Diagnosis>,
}

impl Noted {
    fn new(code: Option<RDKafkaErrorCode>, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), diagnosis: diagnose(reason) }
    }

    fn is_final(&self) -> bool {
        let unauthorized = |diagnosis: Diagnosis| diagnosis.kind == ErrorKind::Unauthorized;
        self.diagnosis.is_some_and(unauthorized) || self.code.is_some_and(error::is_final)
    }

    /// Something more telling is not forgotten for something less so: a wrong password or a
    /// wrong authority also makes all brokers unreachable.
    fn weight(&self) -> u8 {
        match self.diagnosis {
            _ if self.is_final() => 3,
            Some(diagnosis) if !diagnosis.is_guess => 2,
            _ if self.code == Some(RDKafkaErrorCode::AllBrokersDown) => 0,
            _ => 1,
        }
    }

    fn error(&self) -> Option<Error> {
        let error = match (self.diagnosis, self.code) {
            (Some(Diagnosis { kind, message, .. }), _) => error::error(kind, message),
            (None, Some(code)) if error::is_final(code) => error::from_code(code),
            (None, _) => return None,
        };
        Some(error.with_context("reason", &self.reason))
    }
}

impl Trouble {
    fn lock(&self) -> MutexGuard<'_, Option<Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        self.keep(Noted::new(Some(code), reason));
    }

    /// Some trouble is logged only. What says nothing new is left out.
    fn note_log(&self, facility: &str, message: &str) {
        if facility == "FAIL" && diagnose(message).is_some() {
            self.keep(Noted::new(None, message));
        }
    }

    fn keep(&self, noted: Noted) {
        let mut last = self.lock();
        if last.as_ref().is_none_or(|last| noted.weight() >= last.weight()) {
            *last = Some(noted);
        }
    }

    /// The client got through.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    /// In words.
    pub(crate) fn describe(&self) -> Option<String> {
        self.lock().as_ref().map(|noted| noted.reason.clone())
    }

    /// The error that trying again cannot help against.
    pub(crate) fn final_error(&self) -> Option<Error> {
        self.lock().as_ref().filter(|noted| noted.is_final()).and_then(Noted::error)
    }

    /// The error behind `failure`, which is all that the caller of librdkafka got.
    pub(crate) fn explain(&self, failure: Error) -> Error {
        match &*self.lock() {
            None => failure,
            Some(noted) => match noted.error() {
                Some(error) => error,
                None => failure.with_context("reason", &noted.reason),
            },
        }
    }
}

/// Sends what librdkafka logs to `tracing`.
pub(crate) fn log(trouble: &Trouble, level: RDKafkaLogLevel, facility: &str, message: &str) {
    trouble.note_log(facility, message);
    match level {
        // About properties that are for the other kind of client.
        _ if facility == "CONFWARN" => tracing::trace!(facility, "{message}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "{message}");
        }
        // A broker that is down is an error to librdkafka at each attempt; the bus gets over it.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "{message}"),
        // Each connection that ends, idle ones too.
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::debug!(facility, "{message}"),
        RDKafkaLogLevel::Debug => tracing::trace!(facility, "{message}"),
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
        log(&self.0, level, facility, message);
    }

    fn error(&self, kafka: KafkaError, reason: &str) {
        note(&self.0, &kafka, reason);
    }

    fn stats(&self, _: Statistics) {}
}
