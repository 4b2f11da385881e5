//! Who gets what: redeliveries, keys whose turn it is, new messages.

use std::{task::Context, time::Instant};

use eventbus_core::backend::{Content, Incoming, Token};

use super::{Next, State, keys::TopicKey, members::Wakes, topics::New};
use crate::{error, log::Record};

/// How many redeliveries go before a new message if there are both: a message that is
/// nacked for ever must not keep all others back.
const REDELIVERIES_IN_A_ROW: usize = 8;

impl State {
    pub(super) fn next(
        &mut self,
        member: u32,
        cx: &mut Context<'_>,
        now: Instant,
        patient: bool,
        wakes: &mut Wakes,
    ) -> Next {
        self.expire(now, wakes);
        let Some(asking) = self.members.get_mut(member) else {
            return Next::Wait(None);
        };
        if asking.held >= asking.limit {
            asking.full_since.get_or_insert(now);
            let alarm = self.entries.next_expiry().map(|(at, _)| at);
            self.members.park(member, cx.waker(), alarm, wakes);
            return Next::Wait(alarm);
        }
        // Matched by reference: messages are not small, and moving one costs.
        let mut next = self.find(member, now, wakes);
        if next.is_nothing() {
            if patient && self.topics.is_drained() {
                return Next::Soon;
            }
            // All that is there may be behind keys whose turn it is not.
            while next.is_nothing() && self.await_more() {
                next = self.find(member, now, wakes);
            }
        }
        match &next {
            Next::Message(incoming) => {
                self.members.attend(member, wakes);
                if self.members.any_waiting() && (self.has_message(now) || self.await_more()) {
                    self.members.wake_for_message(wakes);
                }
                self.members.set_alarms(incoming.expires, wakes);
            }
            Next::Truncated(_) => self.members.attend(member, wakes),
            Next::Soon | Next::Wait(_) => {
                let alarm = self.next_event();
                self.members.park(member, cx.waker(), alarm, wakes);
                return Next::Wait(alarm);
            }
        }
        next
    }

    /// When something happens by itself next.
    fn next_event(&self) -> Option<Instant> {
        let expiry = self.entries.next_expiry().map(|(at, _)| at);
        let due = self.entries.next_due().map(|(at, _)| at);
        expiry.into_iter().chain(due).min()
    }

    /// Whether a member that may hold more would get something.
    pub(super) fn has_message(&self, now: Instant) -> bool {
        self.entries.next_due().is_some_and(|(due, _)| due <= now)
            || self.keys.as_ref().is_some_and(super::keys::Keys::any_ready)
            || (self.topics.any_new() && self.takes_new())
    }

    /// The topics tell from now on when there is more; true when there is already.
    fn await_more(&mut self) -> bool {
        self.topics.await_more() && self.takes_new()
    }

    /// Something for `member`, or `NOTHING`.
    fn find(&mut self, member: u32, now: Instant, wakes: &mut Wakes) -> Next {
        if self.redelivered < REDELIVERIES_IN_A_ROW {
            let next = self.redeliver(member, now, wakes);
            if !next.is_nothing() {
                return next;
            }
        }
        self.redelivered = 0;
        // The keys whose turn it is and the topics take turns.
        self.key_first = !self.key_first;
        for from_key in [self.key_first, !self.key_first] {
            let next = match from_key {
                true => self.next_of_ready_key(member, now, wakes),
                false => self.next_of_topics(member, now, wakes),
            };
            if !next.is_nothing() {
                return next;
            }
        }
        self.redeliver(member, now, wakes)
    }

    fn redeliver(&mut self, member: u32, now: Instant, wakes: &mut Wakes) -> Next {
        let Some((_, slot)) = self.entries.next_due().filter(|(due, _)| *due <= now) else {
            return Next::NOTHING;
        };
        let Some((topic, offset)) = self.entries.get(slot).map(|e| (e.topic, e.offset)) else {
            return Next::NOTHING;
        };
        let Some(record) = self.topics.log(topic).get(offset) else {
            return self.overtaken(topic, wakes);
        };
        self.redelivered += 1;
        let deadline = now + self.ack_wait;
        self.entries.hand_out(slot, member, deadline);
        self.handed_out(slot, member, record, deadline)
    }

    fn next_of_ready_key(&mut self, member: u32, now: Instant, wakes: &mut Wakes) -> Next {
        let Some(keys) = &mut self.keys else {
            return Next::NOTHING;
        };
        let Some(((topic, key), offset)) = keys.pop_ready() else {
            return Next::NOTHING;
        };
        let Some(record) = self.topics.log(topic).get(offset) else {
            keys.give_back_turn((topic, key), offset);
            return self.overtaken(topic, wakes);
        };
        self.deliver_new(member, (topic, offset), record, now)
    }

    fn next_of_topics(&mut self, member: u32, now: Instant, wakes: &mut Wakes) -> Next {
        while self.takes_new() {
            let (topic, offset, record) = match self.topics.pop() {
                New::Record(topic, offset, record) => (topic, offset, record),
                New::Overtaken(topic) => return self.overtaken(topic, wakes),
                New::Nothing => break,
            };
            let key: TopicKey = (topic, record.key);
            if record.key != 0
                && let Some(keys) = &mut self.keys
                && !keys.enter(key, offset)
            {
                continue;
            }
            return self.deliver_new(member, (topic, offset), record, now);
        }
        Next::NOTHING
    }

    #[inline]
    fn deliver_new(
        &mut self,
        member: u32,
        (topic, offset): (u32, u64),
        record: Record,
        now: Instant,
    ) -> Next {
        let deadline = now + self.ack_wait;
        let slot = self.entries.insert((topic, offset, record.key), member, deadline);
        self.handed_out(slot, member, record, deadline)
    }

    #[inline]
    fn handed_out(&mut self, slot: u32, member: u32, record: Record, deadline: Instant) -> Next {
        if let Some(member) = self.members.get_mut(member) {
            member.held += 1;
        }
        let Some(entry) = self.entries.get(slot) else {
            return Next::NOTHING;
        };
        let mut incoming = Incoming::new(
            self.topics.name(entry.topic).clone(),
            Content::Encoded(record.encoded),
            entry.offset,
            Token(self.entries.token(slot)),
            deadline,
        );
        incoming.attempt = entry.attempt;
        incoming.published_at = record.published_at;
        incoming.expired_before = entry.expired_before;
        Next::Message(incoming)
    }

    /// Takes back what has run out of time.
    pub(super) fn expire(&mut self, now: Instant, wakes: &mut Wakes) {
        let mut any = false;
        while let Some((deadline, slot)) = self.entries.next_expiry() {
            if deadline > now {
                break;
            }
            any = true;
            let Some(entry) = self.entries.get_mut(slot) else {
                break;
            };
            let holder = entry.member;
            // Had its holder left, then the attempt was cut short by that.
            let running = self.members.get(holder).is_some_and(|m| !m.left);
            entry.attempt += 1;
            entry.expired_before = running;
            self.entries.put_back(slot, deadline);
            self.members.release(holder, wakes);
        }
        if any {
            self.members.wake_for_message(wakes);
        }
    }

    /// Forgets what retention has removed from a topic before it was delivered.
    fn overtaken(&mut self, topic: u32, wakes: &mut Wakes) -> Next {
        let (mut lost, first) = self.topics.overtake(topic);
        let gone = |entry: &super::entries::Entry| entry.topic == topic && entry.offset < first;
        if let Some(keys) = &mut self.keys {
            lost += keys.overtake(topic, first);
        }
        for slot in self.entries.waiting_slots(gone) {
            lost += 1;
            self.remove(slot, wakes);
        }
        Next::Truncated(error::truncated(self.topics.name(topic), lost, first))
    }

    /// Takes an entry out for good, which frees its key.
    pub(super) fn remove(&mut self, slot: u32, wakes: &mut Wakes) {
        let Some(entry) = self.entries.remove(slot) else {
            return;
        };
        if entry.key != 0
            && let Some(keys) = &mut self.keys
            && keys.leave((entry.topic, entry.key))
        {
            self.members.wake_for_message(wakes);
        }
    }
}
