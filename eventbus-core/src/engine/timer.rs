//! The task of a bus that watches the clock: acknowledgement timeouts and retries.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::{Ledger, table::TICKS_PER_TIMEOUT};
use crate::{Error, ErrorKind, PublishOptions, Topic, backend::EntryId, envelope::Encoded};

/// An entry that is due to be sent again.
pub(super) struct Resend {
    pub(super) id: EntryId,
    pub(super) topic: Topic,
    pub(super) encoded: Encoded,
    pub(super) options: PublishOptions,
}

impl Ledger {
    /// An entry that certainly was not stored: it waits in its lane, or fails.
    pub(crate) fn retry(&self, id: EntryId, error: Error) {
        let mut done = Vec::new();
        let waits = {
            let mut guard = self.lock();
            let book = &mut *guard;
            let sealed = book.table.sealed;
            let entry = book.table.get_mut(id);
            if entry.as_ref().is_some_and(|entry| !entry.was_sent()) {
                // Handed back before.
                return;
            }
            match entry.and_then(|entry| entry.retry.as_mut()) {
                Some(retry) if !sealed && !retry.policy.is_none() => {
                    retry.error = Some(error.clone());
                    let work = book.lanes.park(retry, id);
                    book.table.set_sent(id, false);
                    self.carry_out(book, work, &mut done);
                    true
                }
                _ => false,
            }
        };
        self.deliver(done);
        if !waits {
            self.complete_one(id, Err(error));
        }
    }

    fn tick(&self) {
        let expired = self.lock().table.tick();
        self.complete(expired.into_iter().map(|id| (id, Err(self.timed_out()))));
    }

    fn timed_out(&self) -> Error {
        Error::new(
            ErrorKind::AckTimeout,
            "no acknowledgement came in time, so whether it was stored is unknown; look for \
             its id before publishing it again, or publish idempotently",
        )
        .with_context("waited", humantime::format_duration(self.timeout()))
    }

    fn pop_due(&self) -> Option<Resend> {
        let mut guard = self.lock();
        let book = &mut *guard;
        while let Some(id) = book.lanes.pop_due(Instant::now()) {
            let Some(entry) = book.table.get(id) else { continue };
            let Some(retry) = &entry.retry else { continue };
            book.stats.retried += u64::from(retry.error.is_some());
            let resend = Resend {
                id,
                topic: entry.topic.clone(),
                encoded: entry.encoded.clone(),
                options: retry.options.clone(),
            };
            book.table.set_sent(id, true);
            return Some(resend);
        }
        None
    }

    /// Stops the timer when nothing is in flight.
    fn disarm(&self) -> bool {
        let mut book = self.lock();
        if book.table.is_empty() {
            book.table.armed = false;
        }
        !book.table.armed
    }
}

/// Runs until it is aborted. `resend` sends one entry again.
pub(super) async fn watch_clock<F: Future<Output = ()>>(
    ledger: Arc<Ledger>,
    resend: impl Fn(Resend) -> F,
) {
    let period = (ledger.timeout() / TICKS_PER_TIMEOUT).max(Duration::from_millis(1));
    let mut resends = FuturesUnordered::new();
    loop {
        ledger.timer.notified().await;
        let mut next_tick = Instant::now() + period;
        while !ledger.disarm() {
            let due = ledger.lock().lanes.next_due();
            let wake = due.map_or(next_tick, |due| due.min(next_tick));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                Some(()) = resends.next() => {}
                () = ledger.timer.notified() => {}
            }
            while let Some(entry) = ledger.pop_due() {
                resends.push(resend(entry));
            }
            if Instant::now() >= next_tick {
                ledger.tick();
                next_tick = Instant::now() + period;
            }
        }
    }
}
