//! The failure handler and the queue before it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use super::{FailureHandler, Ledger};
use crate::PublishFailure;

/// A failure on its way to the handler.
pub(super) struct Failed {
    pub(super) failure: PublishFailure,
    /// What is held until the handler has returned.
    pub(super) kept: Kept,
}

/// What a failure holds on its way to the handler.
pub(super) enum Kept {
    /// All that its entry held.
    Entry(Held),
    /// Its entry is gone, but a flush of this epoch waits for the handler all the same.
    Epoch(u64),
}

/// What a failed entry holds until its failure is done with.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) epoch: u64,
    pub(super) bytes: usize,
    /// Whether these are permits of the window.
    pub(super) windowed: bool,
}

pub(super) struct Failures {
    handler: FailureHandler,
    queue: Mutex<VecDeque<Failed>>,
    wake: Notify,
    running: AtomicBool,
    /// The task that calls the handler has ended: whoever has a failure calls it.
    detached: AtomicBool,
    pub(super) handled: AtomicU64,
    pub(super) panics: AtomicU64,
    /// Notified each time the queue has been worked off.
    idle: Notify,
}

impl Failures {
    pub(super) fn new(handler: Option<FailureHandler>) -> Self {
        Self {
            handler: handler.unwrap_or_else(|| Arc::new(|failure| log_failure(&failure))),
            queue: Mutex::default(),
            wake: Notify::new(),
            running: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            handled: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            idle: Notify::new(),
        }
    }

    pub(super) fn push(&self, failed: Failed) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(failed);
        self.wake.notify_one();
    }

    pub(super) fn detach(&self) {
        self.detached.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_detached(&self) -> bool {
        self.detached.load(Ordering::SeqCst)
    }

    fn pop(&self) -> Option<Failed> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn is_idle(&self) -> bool {
        self.is_empty() && !self.running.load(Ordering::Acquire)
    }

    /// Calls the handler for all that is queued, unless another thread is at it.
    pub(super) fn run(&self, ledger: &Ledger) {
        // Looked at again after the flag is cleared, so that a push in between is not left.
        while !self.is_empty() && !self.running.swap(true, Ordering::AcqRel) {
            while let Some(Failed { failure, kept }) = self.pop() {
                self.call(failure);
                match kept {
                    Kept::Entry(held) => ledger.release_failed(held),
                    Kept::Epoch(epoch) => ledger.release_epoch(epoch),
                }
            }
            self.running.store(false, Ordering::Release);
        }
        self.idle.notify_waiters();
    }

    fn call(&self, failure: PublishFailure) {
        self.handled.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(failure))).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("the publish failure handler panicked; going on with the next failure");
        }
    }

    /// Resolves when nothing is queued and no handler runs.
    pub(super) async fn idle(&self) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }
}

/// The task of a bus that calls its handler, which may block, off the async threads.
pub(super) async fn handle_failures(ledger: Arc<Ledger>) {
    loop {
        ledger.failures.wake.notified().await;
        let for_handler = ledger.clone();
        // It takes from the queue itself: dropped unrun by a runtime that shuts down, it
        // loses nothing.
        let run = tokio::task::spawn_blocking(move || for_handler.failures.run(&for_handler));
        if run.await.is_err() {
            return;
        }
    }
}

fn log_failure(failure: &PublishFailure) {
    tracing::error!(
        topic = %failure.topic(),
        id = %failure.envelope().id(),
        ambiguous = failure.error().is_ambiguous(),
        error = %failure.error(),
        "an accepted envelope was not published",
    );
}
