//! The ledger of a bus: the window, the entries in it, and what happens to their verdicts.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    FailureHandler,
    accept::Room,
    capacity::{Capacity, Waiter},
    failures::{Failures, Held},
    lanes::Lanes,
    table::{Entry, Table},
};
use crate::{BusConfig, Stats, Topic, backend::EntryId};

/// What is told about a topic that turned out not to exist any more.
pub(super) type ForgetRoute = Box<dyn Fn(&Topic) + Send + Sync>;

pub(crate) struct Ledger {
    pub(super) config: BusConfig,
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
    pub(super) capacity: Capacity,
    pub(super) table: Table,
    pub(super) lanes: Lanes,
    pub(super) stats: Stats,
}

/// What becomes of an entry that asks to be accepted.
pub(super) enum Accepted {
    Send(EntryId),
    /// It waits in the retry queue behind its predecessors.
    Wait,
    /// There is no room in the window.
    Full(Entry),
    /// The bus is closed.
    Refused,
}

/// What becomes of the entries of an atomic batch: all the same.
pub(super) enum AcceptedTogether {
    /// To be sent, with the verdict of all under this id.
    Send(EntryId),
    /// There is no room in the window.
    Full(Vec<Entry>),
    /// One would have to wait in the retry queue.
    Behind,
    /// The bus is closed.
    Refused,
}

/// A place in the queue for room. Given up early, it leaves nothing behind.
pub(super) struct Queued<'a> {
    ledger: &'a Ledger,
    count: usize,
    bytes: usize,
    /// `None` once its room is an entry's.
    waiter: Option<Arc<Waiter>>,
}

impl Queued<'_> {
    /// Waits for the room; false when the bus was closed.
    pub(super) async fn granted(&self) -> bool {
        match &self.waiter {
            Some(waiter) => waiter.granted().await,
            None => false,
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let woken = {
            let mut book = self.ledger.lock();
            book.capacity.cancel(&waiter, self.count, self.bytes);
            book.capacity.grant()
        };
        woken.wake();
    }
}

impl Ledger {
    pub(super) fn new(config: BusConfig, on_failure: Option<FailureHandler>) -> Self {
        Self {
            book: Mutex::new(Book {
                capacity: Capacity::new(config.max_in_flight, config.max_in_flight_bytes),
                table: Table::new(),
                lanes: Lanes::default(),
                stats: Stats::default(),
            }),
            config,
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

    /// Queues for room for so many entries in the window; `None` when closed.
    pub(super) fn queue(&self, count: usize, bytes: usize) -> Option<Queued<'_>> {
        let (waiter, woken) = {
            let mut book = self.lock();
            if book.capacity.is_closed() {
                return None;
            }
            let waiter = book.capacity.queue(count, bytes);
            // Room may have come since none was found.
            (waiter, book.capacity.grant())
        };
        woken.wake();
        Some(Queued { ledger: self, count, bytes, waiter: Some(waiter) })
    }

    /// Refuses all who wait for room, and all who come.
    pub(super) fn close_window(&self) {
        let woken = self.lock().capacity.close();
        woken.wake();
    }

    /// Enters an envelope. Once accepted it gets a verdict.
    pub(super) fn accept(&self, entry: Entry, room: Room, queued: Option<Queued<'_>>) -> Accepted {
        let len = entry.len();
        let mut guard = self.lock();
        let book = &mut *guard;
        if book.table.sealed {
            return Accepted::Refused;
        }
        match queued {
            // The entry holds the room from here on.
            Some(mut queued) => drop(queued.waiter.take()),
            None if room == Room::Beyond || book.capacity.try_take(1, len) => {}
            None if book.capacity.is_closed() => return Accepted::Refused,
            None => return Accepted::Full(entry),
        }
        let (id, send) = self.enter(book, entry);
        if send { Accepted::Send(id) } else { Accepted::Wait }
    }

    /// Enters the envelopes of an atomic batch, all or none.
    pub(super) fn accept_together(
        &self,
        entries: Vec<Entry>,
        queued: Option<Queued<'_>>,
    ) -> AcceptedTogether {
        let bytes = entries.iter().map(Entry::len).sum();
        let mut guard = self.lock();
        let book = &mut *guard;
        if book.table.sealed {
            return AcceptedTogether::Refused;
        }
        let waits = |entry: &Entry| entry.retry.as_ref().is_some_and(|r| book.lanes.holds_up(r));
        if entries.iter().any(waits) {
            return AcceptedTogether::Behind;
        }
        match queued {
            // The entries hold the room from here on.
            Some(mut queued) => drop(queued.waiter.take()),
            None if book.capacity.try_take(entries.len(), bytes) => {}
            None if book.capacity.is_closed() => return AcceptedTogether::Refused,
            None => return AcceptedTogether::Full(entries),
        }
        let ids: Arc<[_]> = entries.into_iter().map(|entry| self.enter(book, entry).0).collect();
        for id in &*ids {
            if let Some(entry) = book.table.get_mut(*id) {
                entry.together = Some(ids.clone());
            }
        }
        AcceptedTogether::Send(ids[0])
    }

    /// Enters an entry that has its room. Whether it is to be sent now.
    fn enter(&self, book: &mut Book, mut entry: Entry) -> (EntryId, bool) {
        let len = entry.len();
        let mut retry = entry.retry.take();
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
        (id, send)
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

    /// What was handled of an epoch held nothing but that.
    pub(super) fn release_epoch(&self, epoch: u64) {
        if self.lock().table.finish(epoch) {
            self.flushed.notify_waiters();
        }
    }

    /// A failed entry is done with: reported, or handled.
    pub(super) fn release_failed(&self, held: Held) {
        let (flushed, woken) = {
            let mut book = self.lock();
            book.stats.in_flight -= 1;
            book.stats.in_flight_bytes -= held.bytes;
            if held.windowed {
                book.capacity.give_back(1, held.bytes);
            }
            (book.table.finish(held.epoch), book.capacity.grant())
        };
        woken.wake();
        if flushed {
            self.flushed.notify_waiters();
        }
    }
}
