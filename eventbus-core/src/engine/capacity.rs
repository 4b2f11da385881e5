//! The room in the window, in entries and bytes, and who waits for it.
//!
//! It is guarded by the lock that accepting and settling take anyway: two semaphores, as they
//! were here before, cost as much as the rest of accepting.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
const REFUSED: u8 = 2;

/// What is taken of the window, and the queue for the rest.
pub(super) struct Capacity {
    max_count: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
    closed: bool,
    /// First come, first served: by ticket.
    queue: BTreeMap<u64, Queued>,
    next_ticket: u64,
}

struct Queued {
    count: usize,
    bytes: usize,
    waiter: Arc<Waiter>,
}

/// One that waits for room. Its state changes only under the lock of the ledger.
pub(super) struct Waiter {
    ticket: u64,
    state: AtomicU8,
    wake: Notify,
}

impl Waiter {
    /// Resolves when there is room, which then is taken, or when there never will be.
    pub(super) async fn granted(&self) -> bool {
        self.wake.notified().await;
        self.state.load(Ordering::Acquire) == GRANTED
    }
}

/// Those whose waiting is over, to be woken once the lock is released.
#[derive(Default)]
#[must_use = "they are to be woken"]
pub(super) struct Woken(Vec<Arc<Waiter>>);

impl Woken {
    pub(super) fn wake(self) {
        for waiter in self.0 {
            waiter.wake.notify_one();
        }
    }
}

impl Capacity {
    pub(super) fn new(max_count: usize, max_bytes: usize) -> Self {
        Self {
            max_count,
            max_bytes,
            count: 0,
            bytes: 0,
            closed: false,
            queue: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn fits(&self, count: usize, bytes: usize) -> bool {
        count <= self.max_count - self.count && bytes <= self.max_bytes - self.bytes
    }

    fn take(&mut self, count: usize, bytes: usize) {
        self.count += count;
        self.bytes += bytes;
    }

    /// Takes room for so many entries, if there is some and nobody waits for it.
    pub(super) fn try_take(&mut self, count: usize, bytes: usize) -> bool {
        let takes = !self.closed && self.queue.is_empty() && self.fits(count, bytes);
        if takes {
            self.take(count, bytes);
        }
        takes
    }

    /// Gives the room of so many entries back.
    pub(super) fn give_back(&mut self, count: usize, bytes: usize) {
        self.count -= count;
        self.bytes -= bytes;
    }

    /// Queues for room. Not to be called when closed.
    pub(super) fn queue(&mut self, count: usize, bytes: usize) -> Arc<Waiter> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiter =
            Arc::new(Waiter { ticket, state: AtomicU8::new(WAITING), wake: Notify::new() });
        self.queue.insert(ticket, Queued { count, bytes, waiter: waiter.clone() });
        waiter
    }

    /// A waiter gives up: it leaves the queue, or gives back what it did not use.
    pub(super) fn cancel(&mut self, waiter: &Waiter, count: usize, bytes: usize) {
        match waiter.state.load(Ordering::Acquire) {
            WAITING => drop(self.queue.remove(&waiter.ticket)),
            GRANTED => self.give_back(count, bytes),
            _ => {}
        }
    }

    /// Gives what room there is to those that wait for it.
    #[inline]
    pub(super) fn grant(&mut self) -> Woken {
        let mut woken = Woken::default();
        if !self.queue.is_empty() {
            self.grant_queued(&mut woken);
        }
        woken
    }

    fn grant_queued(&mut self, woken: &mut Woken) {
        while let Some((_, &Queued { count, bytes, .. })) = self.queue.first_key_value()
            && self.fits(count, bytes)
        {
            let Some((_, Queued { waiter, .. })) = self.queue.pop_first() else { return };
            self.take(count, bytes);
            waiter.state.store(GRANTED, Ordering::Release);
            woken.0.push(waiter);
        }
    }

    /// Refuses all who wait for room, and all who come.
    pub(super) fn close(&mut self) -> Woken {
        self.closed = true;
        let queue = std::mem::take(&mut self.queue);
        let refused = queue.into_values().map(|queued| {
            queued.waiter.state.store(REFUSED, Ordering::Release);
            queued.waiter
        });
        Woken(refused.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_granted(waiter: &Waiter) -> bool {
        waiter.state.load(Ordering::Acquire) == GRANTED
    }

    #[test]
    fn count_and_bytes_are_both_bounds() {
        let mut capacity = Capacity::new(2, 10);
        assert!(capacity.try_take(1, 6));
        assert!(!capacity.try_take(1, 5));
        assert!(capacity.try_take(1, 4));
        assert!(!capacity.try_take(1, 0));
        capacity.give_back(1, 6);
        assert!(capacity.try_take(1, 6));
    }

    #[test]
    fn room_is_given_in_the_order_of_the_queue() {
        let mut capacity = Capacity::new(9, 10);
        assert!(capacity.try_take(1, 10));
        let large = capacity.queue(1, 8);
        let small = capacity.queue(1, 1);
        capacity.give_back(1, 10);
        assert!(!capacity.try_take(1, 1), "nobody overtakes the queue");
        let _ = capacity.grant();
        assert!(is_granted(&large) && is_granted(&small));

        let large = capacity.queue(1, 8);
        let small = capacity.queue(1, 1);
        let _ = capacity.grant();
        assert!(!is_granted(&large) && !is_granted(&small), "the small one is not first");
        capacity.cancel(&large, 1, 8);
        let _ = capacity.grant();
        assert!(is_granted(&small));
    }

    #[test]
    fn room_for_several_is_taken_at_once() {
        let mut capacity = Capacity::new(3, 100);
        assert!(capacity.try_take(1, 1));
        assert!(!capacity.try_take(3, 3));
        let (several, one) = (capacity.queue(3, 3), capacity.queue(1, 1));
        let _ = capacity.grant();
        assert!(!is_granted(&several) && !is_granted(&one), "nobody overtakes the queue");
        capacity.give_back(1, 1);
        let _ = capacity.grant();
        assert!(is_granted(&several) && !is_granted(&one));
        capacity.cancel(&several, 3, 3);
        let _ = capacity.grant();
        assert!(is_granted(&one));
        assert_eq!((capacity.count, capacity.bytes), (1, 1));
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_nothing() {
        let mut capacity = Capacity::new(1, 10);
        assert!(capacity.try_take(1, 1));
        let granted = capacity.queue(1, 2);
        let waiting = capacity.queue(1, 3);
        capacity.give_back(1, 1);
        let _ = capacity.grant();
        capacity.cancel(&waiting, 1, 3);
        capacity.cancel(&granted, 1, 2);
        assert_eq!((capacity.count, capacity.bytes, capacity.queue.len()), (0, 0, 0));
    }

    #[test]
    fn closing_refuses() {
        let mut capacity = Capacity::new(1, 10);
        assert!(capacity.try_take(1, 1));
        let waiter = capacity.queue(1, 2);
        let _ = capacity.close();
        assert!(!is_granted(&waiter));
        capacity.cancel(&waiter, 1, 2);
        capacity.give_back(1, 1);
        assert!(!capacity.try_take(1, 1));
        assert_eq!((capacity.count, capacity.bytes), (0, 0));
    }
}
