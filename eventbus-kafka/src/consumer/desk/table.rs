//! The messages that are handed out or wait for a time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Instant,
};

use eventbus_core::backend::Token;

use super::{Message, PartitionId};

/// So many outdated entries may lie in the list of expiries before they are taken out.
const SLACK: usize = 1024;

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    Held {
        message: Message,
        expires: Instant,
        /// Dropped, so that it is never going to be settled.
        abandoned: bool,
    },
    Delayed(Message),
}

#[derive(Debug, Default)]
struct Slot {
    /// Changes whenever the slot changes hands, so that an old token is recognised.
    generation: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    slot: u32,
    generation: u32,
}

impl Place {
    fn token(self) -> Token {
        Token(u64::from(self.generation) << 32 | u64::from(self.slot))
    }

    fn of(token: Token) -> Self {
        Self { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    held: usize,
    delayed: usize,
    /// Ascending, because all have the same time; some are outdated.
    expiries: VecDeque<(Instant, Place)>,
    due: BinaryHeap<Reverse<(Instant, Place)>>,
}

impl Table {
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn len(&self) -> usize {
        self.held + self.delayed
    }

    /// What is handed out of a partition: offsets and the attempts that come next.
    pub(super) fn held_of(&self, partition: PartitionId) -> Vec<(i64, u32)> {
        let held = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Held { message, .. } if message.partition == partition => {
                Some((message.offset, message.attempt + 1))
            }
            _ => None,
        });
        held.collect()
    }

    fn insert(&mut self, state: State) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            // Far fewer than 2^32: `max_in_flight` bounds it.
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.state = state;
        Place { slot, generation: entry.generation }
    }

    fn get(&mut self, place: Place) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(place.slot as usize)?;
        (slot.generation == place.generation).then_some(slot)
    }

    fn vacate(&mut self, place: Place) -> State {
        let slot = &mut self.slots[place.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(place.slot);
        let state = std::mem::take(&mut slot.state);
        match state {
            State::Free => {}
            State::Held { .. } => self.held -= 1,
            State::Delayed(_) => self.delayed -= 1,
        }
        state
    }

    pub(super) fn hand_out(&mut self, message: Message, expires: Instant) -> Token {
        let place = self.insert(State::Held { message, expires, abandoned: false });
        self.held += 1;
        self.expire_at(expires, place);
        place.token()
    }

    fn expire_at(&mut self, expires: Instant, place: Place) {
        while let Some(&(at, first)) = self.expiries.front() {
            if self.is_held(first, at) {
                break;
            }
            self.expiries.pop_front();
        }
        if self.expiries.len() > 2 * self.held + SLACK {
            let mut expiries = std::mem::take(&mut self.expiries);
            expiries.retain(|&(at, place)| self.is_held(place, at));
            self.expiries = expiries;
        }
        self.expiries.push_back((expires, place));
    }

    fn is_held(&mut self, place: Place, until: Instant) -> bool {
        let slot = self.get(place);
        slot.is_some_and(|s| matches!(s.state, State::Held { expires, .. } if expires == until))
    }

    /// Takes a handed-out message back.
    pub(super) fn take(&mut self, token: Token) -> Option<Message> {
        let place = Place::of(token);
        let slot = self.get(place)?;
        if !matches!(slot.state, State::Held { .. }) {
            return None;
        }
        match self.vacate(place) {
            State::Held { message, .. } => Some(message),
            State::Delayed(_) | State::Free => None,
        }
    }

    pub(super) fn extend(&mut self, token: Token, until: Instant) -> bool {
        let place = Place::of(token);
        match self.get(place).map(|slot| &mut slot.state) {
            Some(State::Held { expires, .. }) => {
                *expires = until;
                self.expire_at(until, place);
                true
            }
            _ => false,
        }
    }

    /// Notes that a handed-out message was dropped.
    pub(super) fn abandon(&mut self, token: Token) {
        let slot = self.get(Place::of(token));
        if let Some(State::Held { abandoned, .. }) = slot.map(|slot| &mut slot.state) {
            *abandoned = true;
        }
    }

    /// Takes back what was handed out and dropped.
    pub(super) fn take_abandoned(&mut self) -> Vec<Message> {
        self.extract(|state| matches!(state, State::Held { abandoned: true, .. }))
    }

    /// Keeps a message until `due`; whether it is the next that is due.
    pub(super) fn delay(&mut self, message: Message, due: Instant) -> bool {
        let place = self.insert(State::Delayed(message));
        self.delayed += 1;
        let sooner = self.due.peek().is_none_or(|Reverse((first, _))| due < *first);
        self.due.push(Reverse((due, place)));
        sooner
    }

    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Message> {
        while let Some(&(at, place)) = self.expiries.front() {
            if at > now {
                return None;
            }
            self.expiries.pop_front();
            if self.is_held(place, at) {
                return self.take(place.token());
            }
        }
        None
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Message> {
        while let Some(&Reverse((due, place))) = self.due.peek() {
            if due > now {
                return None;
            }
            self.due.pop();
            if let Some(Slot { state: State::Delayed(_), .. }) = self.get(place)
                && let State::Delayed(message) = self.vacate(place)
            {
                return Some(message);
            }
        }
        None
    }

    /// When something expires or is due, at the earliest.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let expiry = self.expiries.front().map(|(at, _)| *at).filter(|_| self.held > 0);
        let due = self.due.peek().map(|Reverse((due, _))| *due);
        expiry.into_iter().chain(due).min()
    }

    /// Takes messages out, handed out or not; their tokens are void.
    pub(super) fn remove(&mut self, takes: impl Fn(&Message) -> bool) -> Vec<Message> {
        self.extract(|state| match state {
            State::Held { message, .. } | State::Delayed(message) => takes(message),
            State::Free => false,
        })
    }

    fn extract(&mut self, takes: impl Fn(&State) -> bool) -> Vec<Message> {
        let mut taken = Vec::new();
        for slot in 0..self.slots.len() {
            let entry = &self.slots[slot];
            let place = Place { slot: slot as u32, generation: entry.generation };
            if takes(&entry.state)
                && let State::Held { message, .. } | State::Delayed(message) = self.vacate(place)
            {
                taken.push(message);
            }
        }
        taken
    }

    pub(super) fn forget_delayed(&mut self) {
        while let Some(Reverse((_, place))) = self.due.pop() {
            if matches!(self.get(place), Some(Slot { state: State::Delayed(_), .. })) {
                self.vacate(place);
            }
        }
    }
}
