//! A failure handler that keeps what it gets.

use std::sync::{Arc, Mutex, PoisonError};

use eventbus_core::{Envelope, FailureHandler, PublishFailure};

use super::number;

/// Keeps every failure, in the order in which the handler got them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(Arc<Mutex<Vec<PublishFailure>>>);

impl Failures {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, failure: PublishFailure) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }

    pub(crate) fn handler(&self) -> Option<FailureHandler> {
        let kept = self.clone();
        Some(Arc::new(move |failure| kept.add(failure)))
    }

    pub(crate) fn all(&self) -> Vec<PublishFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.all().iter().map(PublishFailure::envelope).collect()
    }

    /// The numbers of the failed events, in ascending order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.envelopes().iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}
