//! What settling does to a group.

use std::time::Instant;

use eventbus_core::{Error, backend::Settlement};

use super::{GiveBack, State, members::Wakes};
use crate::error;

impl State {
    pub(super) fn settle(
        &mut self,
        token: u64,
        settlement: Settlement,
        now: Instant,
        wakes: &mut Wakes,
    ) -> Result<(), Error> {
        let serial = self.entries.serial(token);
        let Some(slot) = self.entries.find_held(token, now) else {
            let acks = matches!(settlement, Settlement::Ack | Settlement::AckConfirmed);
            if self.cumulative && acks && serial <= self.covered && !self.entries.is_open(token) {
                return Ok(());
            }
            return Err(error::expired());
        };
        match settlement {
            Settlement::Nack(delay) => self.nack(slot, now + delay, now, wakes),
            Settlement::Extend => self.entries.extend(slot, now + self.ack_wait),
            Settlement::Ack | Settlement::AckConfirmed if self.cumulative => {
                self.covered = self.covered.max(serial);
                let mut covered = self.entries.up_to(serial);
                // A redelivery does not cover what is stored behind it and comes again too.
                covered.retain(|other| !self.entries.is_stored_after(*other, slot));
                for slot in covered {
                    self.finish(slot, wakes);
                }
            }
            _ => self.finish(slot, wakes),
        }
        Ok(())
    }

    /// Done with an entry, held or waiting.
    fn finish(&mut self, slot: u32, wakes: &mut Wakes) {
        if let Some(holder) = self.entries.holder(slot) {
            self.members.release(holder, wakes);
        }
        self.remove(slot, wakes);
    }

    fn nack(&mut self, slot: u32, due: Instant, now: Instant, wakes: &mut Wakes) {
        let Some(holder) = self.entries.holder(slot) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.attempt += 1;
            entry.expired_before = false;
        }
        self.entries.put_back(slot, due);
        self.members.release(holder, wakes);
        if due <= now {
            self.members.wake_for_message(wakes);
        } else {
            self.members.set_alarms(due, wakes);
        }
    }

    pub(super) fn give_back(
        &mut self,
        member: u32,
        how: GiveBack,
        now: Instant,
        wakes: &mut Wakes,
    ) {
        let slots = self.entries.held(|entry| entry.member == member);
        for slot in &slots {
            if let Some(entry) = self.entries.get_mut(*slot)
                && how == GiveBack::Counted
            {
                entry.attempt += 1;
                entry.expired_before = false;
            }
            self.entries.put_back(*slot, now);
            self.members.release(member, wakes);
        }
        if !slots.is_empty() {
            self.members.wake_for_message(wakes);
        }
    }
}
