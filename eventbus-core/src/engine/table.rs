//! The entries in flight: a slab with generations, so that a late acknowledgement is told
//! from one for the slot's next entry, and with epochs, so that a flush knows what it waits for.

use std::collections::VecDeque;

use super::{batch::Tracker, lanes::Retry, pending::Waiter};
use crate::{Topic, backend::EntryId, envelope::Encoded};
use std::sync::Arc;

/// How many ticks of the timer make one `ack_timeout`.
pub(super) const TICKS_PER_TIMEOUT: u32 = 8;

/// Who wants the verdict.
pub(super) enum Completion {
    /// Nobody: failures go to the failure handler.
    Detached,
    Waiter(Waiter),
    Batch(Arc<Tracker>, usize),
}

pub(super) struct Entry {
    pub(super) topic: Topic,
    pub(super) encoded: Encoded,
    pub(super) completion: Completion,
    /// Whether it holds permits of the window. Dead letters do not: they must not wait for
    /// publishers, and subscriptions bound them.
    pub(super) windowed: bool,
    /// Set where the engine may send it again.
    pub(super) retry: Option<Box<Retry>>,
    /// All entries of its atomic batch, in order. The verdict of one is that of all.
    pub(super) together: Option<Arc<[EntryId]>>,
    epoch: u64,
    /// The tick in which it was handed to the transport; `None` while it waits for a retry.
    sent: Option<u32>,
}

impl Entry {
    pub(super) fn new(
        topic: Topic,
        encoded: Encoded,
        completion: Completion,
        windowed: bool,
        retry: Option<Box<Retry>>,
    ) -> Self {
        Self { topic, encoded, completion, windowed, retry, together: None, epoch: 0, sent: None }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn was_sent(&self) -> bool {
        self.sent.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.encoded.bytes().len()
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Entries without a verdict, and entries whose failure is not handled yet, by epoch.
    epochs: VecDeque<usize>,
    first_epoch: u64,
    tick: u32,
    /// Once sealed, nothing is accepted any more.
    pub(super) sealed: bool,
    /// Whether the timer runs.
    pub(super) armed: bool,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            epochs: VecDeque::from([0]),
            first_epoch: 0,
            tick: 0,
            sealed: false,
            armed: false,
        }
    }

    pub(super) fn insert(&mut self, mut entry: Entry) -> EntryId {
        entry.epoch = self.first_epoch + self.epochs.len() as u64 - 1;
        if let Some(last) = self.epochs.back_mut() {
            *last += 1;
        }
        entry.sent = Some(self.tick);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // The window is at most 2^20, see `BusConfig::validate`.
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.entry = Some(entry);
        EntryId::pack(slot, place.generation)
    }

    /// Takes an entry out; its epoch stays open until [`finish`](Self::finish).
    pub(super) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let (slot, generation) = id.unpack();
        let place = self.slots.get_mut(slot as usize)?;
        if place.generation != generation {
            return None;
        }
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        Some(entry)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        let (slot, generation) = id.unpack();
        let place = self.slots.get(slot as usize)?;
        if place.generation == generation { place.entry.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        let (slot, generation) = id.unpack();
        let place = self.slots.get_mut(slot as usize)?;
        if place.generation == generation { place.entry.as_mut() } else { None }
    }

    /// Stops the clock of an entry that waits for a retry, or starts it anew.
    pub(super) fn set_sent(&mut self, id: EntryId, sent: bool) {
        let tick = self.tick;
        if let Some(entry) = self.get_mut(id) {
            entry.sent = sent.then_some(tick);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Keeps the current epoch open until it is [finished](Self::finish) once more.
    pub(super) fn hold(&mut self) -> u64 {
        let last = self.epochs.len() - 1;
        self.epochs[last] += 1;
        self.first_epoch + last as u64
    }

    /// One entry of `epoch` is done with. True when a flush may be over.
    pub(super) fn finish(&mut self, epoch: u64) -> bool {
        self.epochs[(epoch - self.first_epoch) as usize] -= 1;
        let mut popped = false;
        while self.epochs.len() > 1 && self.epochs[0] == 0 {
            self.epochs.pop_front();
            self.first_epoch += 1;
            popped = true;
        }
        popped
    }

    /// Closes the current epoch for a flush; `None` when there is nothing to wait for.
    pub(super) fn close_epoch(&mut self) -> Option<u64> {
        let last = self.epochs.len() - 1;
        if self.epochs[last] > 0 {
            self.epochs.push_back(0);
            return Some(self.first_epoch + last as u64);
        }
        // The current epoch is empty: an earlier flush has opened it.
        (last > 0).then(|| self.first_epoch + last as u64 - 1)
    }

    pub(super) fn is_flushed(&self, epoch: u64) -> bool {
        self.first_epoch > epoch
    }

    /// Advances the clock and names the entries that have been out for a whole `ack_timeout`.
    pub(super) fn tick(&mut self) -> Vec<EntryId> {
        self.tick = self.tick.wrapping_add(1);
        let now = self.tick;
        let expired = |sent: u32| now.wrapping_sub(sent) > TICKS_PER_TIMEOUT;
        self.ids(|entry| entry.sent.is_some_and(expired))
    }

    pub(super) fn ids(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<EntryId> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.entry.as_ref().is_some_and(&wanted))
            .map(|(at, slot)| EntryId::pack(at as u32, slot.generation))
            .collect()
    }
}
