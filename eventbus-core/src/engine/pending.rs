//! A verdict that somebody waits for.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use super::Ledger;
use crate::{PublishError, PublishFailure, Receipt};

pub(super) type Waiter = oneshot::Sender<Result<Receipt, PublishFailure>>;

/// The future verdict of an accepted envelope.
///
/// Dropped before it has resolved, the envelope stays in flight and a failure goes to the
/// failure handler.
#[must_use = "without awaiting it, `publish` does the same for less"]
pub struct PendingReceipt(State);

enum State {
    Waiting { verdict: oneshot::Receiver<Result<Receipt, PublishFailure>>, ledger: Arc<Ledger> },
    Other(Pin<Box<dyn Future<Output = Result<Receipt, PublishError>> + Send>>),
}

impl PendingReceipt {
    /// A receipt from any future, for decorators of a bus.
    pub fn new(
        verdict: impl Future<Output = Result<Receipt, PublishError>> + Send + 'static,
    ) -> Self {
        Self(State::Other(Box::pin(verdict)))
    }

    pub(super) fn waiting(ledger: Arc<Ledger>) -> (Waiter, Self) {
        let (waiter, verdict) = oneshot::channel();
        (waiter, Self(State::Waiting { verdict, ledger }))
    }
}

impl Future for PendingReceipt {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waiting { verdict, .. } => {
                let verdict = ready!(Pin::new(verdict).poll(cx));
                // The ledger gives each entry a verdict, at the latest when the bus is dropped.
                let verdict = verdict.expect("each accepted entry has a verdict");
                Poll::Ready(verdict.map_err(PublishFailure::into_publish_error))
            }
            State::Other(future) => future.as_mut().poll(cx),
        }
    }
}

impl Drop for PendingReceipt {
    fn drop(&mut self) {
        if let State::Waiting { verdict, ledger } = &mut self.0 {
            verdict.close();
            if let Ok(Err(failure)) = verdict.try_recv() {
                ledger.hand_over(failure);
            }
        }
    }
}

impl fmt::Debug for PendingReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingReceipt").finish_non_exhaustive()
    }
}
