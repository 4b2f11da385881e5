//! Waiting for a condition, with a deadline and backoff.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// The condition did not come true; `last` is what the last attempt said.
#[derive(Debug)]
pub(crate) struct TooLate {
    pub(crate) after: Duration,
    pub(crate) last: String,
}

/// What an attempt found.
#[derive(Debug)]
pub(crate) enum Attempt<T, F> {
    /// It is true.
    Ready(T),
    /// Not yet, and why.
    NotYet(String),
    /// It cannot come true any more.
    Never(F),
}

/// Repeats `attempt` until it succeeds, cannot succeed, or `limit` has passed.
///
/// Each attempt is itself bounded by the time left, so that a peer that accepts
/// a connection and stays silent does not outlast the deadline.
pub(crate) async fn until<T, F, A>(
    limit: Duration,
    mut attempt: impl FnMut() -> A,
) -> Result<Result<T, F>, TooLate>
where
    A: Future<Output = Attempt<T, F>>,
{
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    let mut last = String::from("nothing was tried");
    loop {
        let left = limit.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Attempt::Ready(value)) => return Ok(Ok(value)),
            Ok(Attempt::Never(reason)) => return Ok(Err(reason)),
            Ok(Attempt::NotYet(reason)) => last = reason,
            Err(_) => {
                return Err(TooLate {
                    after: limit,
                    last: format!("{last} (then an attempt was cut short)"),
                });
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}

/// Shorthand for attempts that only succeed or say why not.
pub(crate) fn not_yet<T, F>(reason: impl Display) -> Attempt<T, F> {
    Attempt::NotYet(reason.to_string())
}
