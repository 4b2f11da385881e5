//! The verdicts of a batch, collected.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Ledger;
use crate::{BatchError, PublishError, PublishFailure, Receipt};

enum Outcome {
    Pending,
    Stored(Receipt),
    Failed(PublishFailure),
    Refused(PublishError),
}

struct State {
    outcomes: Vec<Outcome>,
    pending: usize,
    detached: bool,
}

/// Collects the verdicts of one batch. One per batch, shared by its entries.
pub(super) struct Tracker {
    state: Mutex<State>,
    done: Notify,
}

impl Tracker {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a verdict; gives a failure back when nobody waits for the batch any more.
    pub(super) fn report(
        &self,
        index: usize,
        verdict: Result<Receipt, PublishFailure>,
    ) -> Result<(), PublishFailure> {
        let outcome = match verdict {
            Ok(receipt) => Outcome::Stored(receipt),
            Err(failure) => Outcome::Failed(failure),
        };
        let mut state = self.lock();
        if state.detached {
            return match outcome {
                Outcome::Failed(failure) => Err(failure),
                _ => Ok(()),
            };
        }
        self.set(&mut state, index, outcome);
        Ok(())
    }

    fn set(&self, state: &mut State, index: usize, outcome: Outcome) {
        state.outcomes[index] = outcome;
        state.pending -= 1;
        if state.pending == 0 {
            self.done.notify_one();
        }
    }
}

/// The waiting side of a batch. Dropped early, it leaves failures to the failure handler.
pub(super) struct Batch {
    tracker: Arc<Tracker>,
    ledger: Arc<Ledger>,
}

impl Batch {
    pub(super) fn new(len: usize, ledger: Arc<Ledger>) -> Self {
        let outcomes = std::iter::repeat_with(|| Outcome::Pending).take(len).collect();
        let state = Mutex::new(State { outcomes, pending: len, detached: false });
        Self { tracker: Arc::new(Tracker { state, done: Notify::new() }), ledger }
    }

    pub(super) fn tracker(&self) -> Arc<Tracker> {
        self.tracker.clone()
    }

    pub(super) fn refused(&self, index: usize, error: PublishError) {
        let mut state = self.tracker.lock();
        self.tracker.set(&mut state, index, Outcome::Refused(error));
    }

    /// Waits for all verdicts. Must not be called for an empty batch.
    pub(super) async fn verdicts(self) -> Result<Vec<Receipt>, BatchError> {
        self.tracker.done.notified().await;
        let outcomes = std::mem::take(&mut self.tracker.lock().outcomes);
        let mut receipts = Vec::with_capacity(outcomes.len());
        let mut failures = Vec::new();
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Outcome::Stored(receipt) => receipts.push((index, receipt)),
                Outcome::Failed(failure) => failures.push((index, failure.into_publish_error())),
                Outcome::Refused(error) => failures.push((index, error)),
                Outcome::Pending => unreachable!("all verdicts are in"),
            }
        }
        if failures.is_empty() {
            return Ok(receipts.into_iter().map(|(_, receipt)| receipt).collect());
        }
        Err(BatchError::new(failures, receipts))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let outcomes = {
            let mut state = self.tracker.lock();
            state.detached = true;
            std::mem::take(&mut state.outcomes)
        };
        for outcome in outcomes {
            if let Outcome::Failed(failure) = outcome {
                self.ledger.hand_over(failure);
            }
        }
    }
}
