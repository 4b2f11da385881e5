//! Waiting: always for something, never for ever, and with a message that says for what.

use std::{
    fmt::Display,
    future::Future,
    panic::Location,
    time::{Duration, Instant},
};

use futures_util::FutureExt;

use crate::{Failure, Result};

/// How long anything may take that should happen soon. Far more than it takes on a loaded
/// machine, so that running into it means that it does not happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any scenario takes: for timeouts that must not strike.
pub(crate) const LONG: Duration = Duration::from_secs(600);

const POLL: Duration = Duration::from_millis(5);

/// Waits for `future`, at most [`PATIENCE`].
///
/// # Errors
/// When it takes longer; names `what` and the place of the caller.
#[track_caller]
pub fn within<F: Future>(what: impl Display, future: F) -> impl Future<Output = Result<F::Output>> {
    let at = Location::caller();
    async move {
        let outcome = tokio::time::timeout(PATIENCE, future).await;
        outcome.map_err(|_| waited_in_vain(at, what))
    }
}

/// Waits until `condition` holds, at most [`PATIENCE`].
///
/// # Errors
/// When it takes longer; names `what` and the place of the caller.
#[track_caller]
pub fn eventually(
    what: impl Display,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = Result> {
    let at = Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                return Err(waited_in_vain(at, what));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Polls a future that should wait for something, once.
pub(crate) fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    future.now_or_never().is_none()
}

/// Polls a future once and drops it.
pub(crate) fn poll_once(future: impl Future) {
    let _ = future.now_or_never();
}

/// Lets `duration` pass, where the passing of time itself is what the scenario is about.
pub async fn let_pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn waited_in_vain(at: &'static Location<'static>, what: impl Display) -> Failure {
    Failure::at(at, format!("waited {PATIENCE:?} in vain: {what}"))
}
