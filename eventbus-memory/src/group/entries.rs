//! The messages of a group that were handed out and are not settled: a slab, with the held
//! ones in the order in which they expire and the waiting ones in the order in which they
//! are due.

use std::{collections::BTreeMap, time::Instant};

use crate::key::Key;

const NONE: u32 = u32::MAX;

/// A token is the serial number of a handing-out and, below it, the slot of the entry.
const SLOT_BITS: u32 = 24;
const SERIAL_MASK: u64 = u64::MAX >> SLOT_BITS;
pub(super) const MOST_ENTRIES: usize = (1 << SLOT_BITS) - 1;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) topic: u32,
    pub(super) offset: u64,
    pub(super) key: Key,
    /// From 1.
    pub(super) attempt: u32,
    /// The attempt before this one ran out of time.
    pub(super) expired_before: bool,
    /// Who holds it, or held it last.
    pub(super) member: u32,
    serial: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// With a member until then.
    Held(Instant),
    /// To be delivered again then.
    Waiting(Instant),
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
    /// The held entries, linked. `ack_wait` is the same for all of a group, so what is held
    /// anew always expires last.
    head: u32,
    tail: u32,
    /// The held entries are also in the order of their serials: none was extended.
    in_order: bool,
    waiting: BTreeMap<(Instant, u64), u32>,
    last_serial: u64,
}

#[derive(Debug)]
struct Slot {
    entry: Option<Entry>,
    previous: u32,
    next: u32,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { head: NONE, tail: NONE, in_order: true, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a new entry in, held by `member` until `deadline`; gives its slot.
    pub(super) fn insert(
        &mut self,
        (topic, offset, key): (u32, u64, Key),
        member: u32,
        deadline: Instant,
    ) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { entry: None, previous: NONE, next: NONE });
            // The caller keeps to `MOST_ENTRIES`.
            (self.slots.len() - 1) as u32
        });
        self.last_serial += 1;
        self.slots[slot as usize].entry = Some(Entry {
            topic,
            offset,
            key,
            attempt: 1,
            expired_before: false,
            member,
            serial: self.last_serial,
            phase: Phase::Held(deadline),
        });
        self.len += 1;
        self.link(slot);
        slot
    }

    pub(super) fn token(&self, slot: u32) -> u64 {
        let serial = self.get(slot).map_or(0, |entry| entry.serial);
        serial << SLOT_BITS | u64::from(slot)
    }

    /// The number of the handing-out that a token stands for: the last with those low bits.
    pub(super) fn serial(&self, token: u64) -> u64 {
        let behind = self.last_serial.wrapping_sub(token >> SLOT_BITS) & SERIAL_MASK;
        self.last_serial.saturating_sub(behind)
    }

    /// The slot of a token whose message is still held.
    pub(super) fn find_held(&self, token: u64, now: Instant) -> Option<u32> {
        let slot = (token & ((1 << SLOT_BITS) - 1)) as u32;
        let entry = self.get(slot)?;
        let held = matches!(entry.phase, Phase::Held(deadline) if deadline > now);
        (held && entry.serial == self.serial(token)).then_some(slot)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.entry.as_mut()
    }

    /// Who holds an entry, if it is held.
    pub(super) fn holder(&self, slot: u32) -> Option<u32> {
        let entry = self.get(slot)?;
        matches!(entry.phase, Phase::Held(_)).then_some(entry.member)
    }

    /// Takes an entry out for good.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        self.detach(slot);
        let entry = self.slots.get_mut(slot as usize)?.entry.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(entry)
    }

    /// Gives a held entry more time.
    pub(super) fn extend(&mut self, slot: u32, deadline: Instant) {
        self.in_order = false;
        self.unlink(slot);
        self.set_phase(slot, Phase::Held(deadline));
        self.link(slot);
    }

    /// A held entry waits to be delivered again.
    pub(super) fn put_back(&mut self, slot: u32, due: Instant) {
        self.detach(slot);
        self.set_phase(slot, Phase::Waiting(due));
        if let Some(entry) = self.get(slot) {
            let serial = entry.serial;
            self.waiting.insert((due, serial), slot);
        }
    }

    /// Hands a waiting entry out again.
    pub(super) fn hand_out(&mut self, slot: u32, member: u32, deadline: Instant) {
        self.detach(slot);
        self.last_serial += 1;
        let serial = self.last_serial;
        if let Some(entry) = self.get_mut(slot) {
            entry.member = member;
            entry.serial = serial;
            entry.phase = Phase::Held(deadline);
        }
        self.link(slot);
    }

    /// The held entry that expires first, and when.
    pub(super) fn next_expiry(&self) -> Option<(Instant, u32)> {
        match self.get(self.head)?.phase {
            Phase::Held(deadline) => Some((deadline, self.head)),
            Phase::Waiting(_) => None,
        }
    }

    /// The waiting entry that is due first, and when.
    pub(super) fn next_due(&self) -> Option<(Instant, u32)> {
        let (&(due, _), &slot) = self.waiting.first_key_value()?;
        Some((due, slot))
    }

    /// The slots that are held and `wanted`, in the order in which they expire.
    pub(super) fn held(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = self.head;
        while let Some(entry) = self.get(at) {
            if wanted(entry) {
                found.push(at);
            }
            at = self.slots[at as usize].next;
        }
        found
    }

    /// The slots that wait and are `wanted`.
    pub(super) fn waiting_slots(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<u32> {
        let slots = self.waiting.values().copied();
        slots.filter(|slot| self.get(*slot).is_some_and(&wanted)).collect()
    }

    /// The slots whose last handing-out was `serial` or an earlier one.
    pub(super) fn up_to(&self, serial: u64) -> Vec<u32> {
        let covered = |entry: &Entry| entry.serial <= serial;
        let mut slots = Vec::new();
        let mut at = self.head;
        while let Some(entry) = self.get(at) {
            if covered(entry) {
                slots.push(at);
            } else if self.in_order {
                break;
            }
            at = self.slots[at as usize].next;
        }
        slots.extend(self.waiting_slots(covered));
        slots
    }

    /// Whether the message of a token is held or waits, without another handing-out since.
    pub(super) fn is_open(&self, token: u64) -> bool {
        let slot = (token & ((1 << SLOT_BITS) - 1)) as u32;
        self.get(slot).is_some_and(|entry| entry.serial == self.serial(token))
    }

    /// Whether one entry is in the topic of the other, further on.
    pub(super) fn is_stored_after(&self, slot: u32, other: u32) -> bool {
        let (Some(entry), Some(other)) = (self.get(slot), self.get(other)) else {
            return false;
        };
        entry.topic == other.topic && entry.offset > other.offset
    }

    fn set_phase(&mut self, slot: u32, phase: Phase) {
        if let Some(entry) = self.get_mut(slot) {
            entry.phase = phase;
        }
    }

    fn detach(&mut self, slot: u32) {
        let Some(entry) = self.get(slot) else { return };
        match entry.phase {
            Phase::Held(_) => self.unlink(slot),
            Phase::Waiting(due) => {
                let serial = entry.serial;
                self.waiting.remove(&(due, serial));
            }
        }
    }

    fn link(&mut self, slot: u32) {
        let tail = self.tail;
        let place = &mut self.slots[slot as usize];
        place.previous = tail;
        place.next = NONE;
        match self.slots.get_mut(tail as usize) {
            Some(last) => last.next = slot,
            None => self.head = slot,
        }
        self.tail = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { previous, next, .. } = self.slots[slot as usize];
        match self.slots.get_mut(previous as usize) {
            Some(place) => place.next = next,
            None => self.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(place) => place.previous = previous,
            None => self.tail = previous,
        }
        self.in_order |= self.head == NONE;
    }
}
