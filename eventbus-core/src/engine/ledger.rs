//! The ledger of a bus: the window, the entries in it, and what happens to their verdicts.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore};

use super::{
    FailureHandler,
    failures::{Failures, Held},
    lanes::Lanes,
    table::{Entry, Table},
};
use crate::{BusConfig, Stats, Topic, backend::EntryId};

/// What is told about a topic that turned out not to exist any more.
pub(super) type ForgetRoute = Box<dyn Fn(&Topic) + Send + Sync>;

pub(crate) struct Ledger {
    pub(super) config: BusConfig,
    count: Semaphore,
    bytes: Semaphore,
    book: Mutex<Book>,
    /// Notified when a flush may be over.
    pub(super) flushed: Notify,
    /// Wakes the timer: the first entry after an idle time, or another due retry.
    pub(super) timer: Notify,
    pub(super) failures: Failures,
    pub(super) refused: AtomicU64,
    /// Whether anything may be retried, so that keys need lanes.
    pub(super) retries: AtomicBool,
    /// The backend's name, for positions and errors.
    backend: OnceLock<&'static str>,
    /// How long an entry may be out: `ack_timeout`, and on top of it the time that a transport
    /// which retries by itself takes.
    timeout: OnceLock<Duration>,
    pub(super) forget_route: OnceLock<ForgetRoute>,
}

/// All that is guarded by the one lock of the publish path.
pub(super) struct Book {
    pub(super) table: Table,
    pub(super) lanes: Lanes,
    pub(super) stats: Stats,
}

/// What an accepted entry is to do next.
pub(super) enum Accepted {
    Send(EntryId),
    /// It waits in the retry queue behind its predecessors.
    Wait,
    /// The bus has been closed.
    Refused,
}

/// Permits of the window, held until the entry is accepted.
pub(super) struct Permits<'a> {
    ledger: &'a Ledger,
    bytes: usize,
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        self.ledger.release(1, self.bytes);
    }
}

impl Ledger {
    pub(super) fn new(config: BusConfig, on_failure: Option<FailureHandler>) -> Self {
        Self {
            count: Semaphore::new(config.max_in_flight),
            bytes: Semaphore::new(config.max_in_flight_bytes),
            config,
            book: Mutex::new(Book {
                table: Table::new(),
                lanes: Lanes::default(),
                stats: Stats::default(),
            }),
            flushed: Notify::new(),
            timer: Notify::new(),
            failures: Failures::new(on_failure),
            refused: AtomicU64::new(0),
            retries: AtomicBool::new(false),
            backend: OnceLock::new(),
            timeout: OnceLock::new(),
            forget_route: OnceLock::new(),
        }
    }

    pub(super) fn attach(
        &self,
        backend: &'static str,
        native_retry: bool,
        forget_route: impl Fn(&Topic) + Send + Sync + 'static,
    ) {
        let retries = if native_retry { self.config.retry_max_elapsed } else { Duration::ZERO };
        let _ = self.timeout.set(self.config.ack_timeout.saturating_add(retries));
        let _ = self.backend.set(backend);
        let _ = self.forget_route.set(Box::new(forget_route));
    }

    pub(super) fn backend(&self) -> &'static str {
        self.backend.get().copied().unwrap_or_default()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.get().copied().unwrap_or(self.config.ack_timeout)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room in the window, if there is some now and nobody waits for it.
    pub(super) fn try_acquire(&self, bytes: usize) -> Option<Permits<'_>> {
        let count = self.count.try_acquire().ok()?;
        let room = self.bytes.try_acquire_many(as_permits(bytes)).ok()?;
        count.forget();
        room.forget();
        Some(Permits { ledger: self, bytes })
    }

    /// Waits for room in the window, first come first served. `None` when closed.
    pub(super) async fn acquire(&self, bytes: usize) -> Option<Permits<'_>> {
        let count = self.count.acquire().await.ok()?;
        let room = self.bytes.acquire_many(as_permits(bytes)).await.ok()?;
        count.forget();
        room.forget();
        Some(Permits { ledger: self, bytes })
    }

    /// Refuses all who wait for room, and all who come.
    pub(super) fn close_window(&self) {
        self.count.close();
        self.bytes.close();
    }

    /// Enters an envelope. From here on it gets a verdict.
    pub(super) fn accept(&self, mut entry: Entry, permits: Option<Permits<'_>>) -> Accepted {
        let len = entry.len();
        let mut retry = entry.retry.take();
        let mut guard = self.lock();
        let book = &mut *guard;
        if book.table.sealed {
            return Accepted::Refused;
        }
        // From here on the entry holds them.
        std::mem::forget(permits);
        let stats = &mut book.stats;
        stats.published += 1;
        stats.in_flight += 1;
        stats.in_flight_bytes += len;
        stats.peak_in_flight = stats.peak_in_flight.max(stats.in_flight);
        let id = book.table.insert(entry);
        let mut send = true;
        if let Some(retry) = &mut retry {
            send = book.lanes.enter(retry, id);
            if !send {
                book.table.set_sent(id, false);
            }
        }
        if let (Some(retry), Some(entry)) = (retry, book.table.get_mut(id)) {
            entry.retry = Some(retry);
        }
        if !book.table.armed {
            book.table.armed = true;
            self.timer.notify_one();
        }
        if send { Accepted::Send(id) } else { Accepted::Wait }
    }

    /// Resolves when all that was accepted before has its verdict and was handled.
    pub(super) async fn flush(&self) {
        let Some(epoch) = self.lock().table.close_epoch() else {
            return;
        };
        loop {
            let mut flushed = std::pin::pin!(self.flushed.notified());
            flushed.as_mut().enable();
            if self.lock().table.is_flushed(epoch) {
                return;
            }
            flushed.await;
        }
    }

    /// Accepts nothing any more.
    pub(super) fn seal(&self) {
        self.lock().table.sealed = true;
    }

    pub(crate) fn is_pending(&self, id: EntryId) -> bool {
        self.lock().table.get(id).is_some()
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.lock().stats;
        stats.refused = self.refused.load(Relaxed);
        stats.handled_failures = self.failures.handled.load(Relaxed);
        stats.handler_panics = self.failures.panics.load(Relaxed);
        stats
    }

    /// A failed entry is done with: reported, or handled.
    pub(super) fn release_failed(&self, held: Held) {
        let flushed = {
            let mut book = self.lock();
            book.stats.in_flight -= 1;
            book.stats.in_flight_bytes -= held.bytes;
            book.table.finish(held.epoch)
        };
        if held.windowed {
            self.release(1, held.bytes);
        }
        if flushed {
            self.flushed.notify_waiters();
        }
    }

    /// Gives permits back to the window.
    pub(super) fn release(&self, count: usize, bytes: usize) {
        if count > 0 {
            self.count.add_permits(count);
        }
        if bytes > 0 {
            self.bytes.add_permits(bytes);
        }
    }
}

fn as_permits(bytes: usize) -> u32 {
    // At most `max_envelope_bytes`, which is less than 4 GiB.
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
