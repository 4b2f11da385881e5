//! The members of a group: what each holds, and who waits to be woken.

use std::{collections::VecDeque, task::Waker, time::Instant};

use crate::few::Few;

/// How many waiting members are woken for one message. One would do, but its task may be busy
/// with something else than this subscription; who was woken in vain waits again.
const WOKEN_AT_ONCE: usize = 2;

#[derive(Debug)]
pub(super) struct Member {
    /// How many messages it may hold.
    pub(super) limit: usize,
    pub(super) held: usize,
    /// It takes no more messages.
    pub(super) left: bool,
    /// Nobody can settle by it or ask about it any more.
    pub(super) forgotten: bool,
    /// Since when it has been waiting with as much as it may hold.
    pub(super) full_since: Option<Instant>,
    parked: Option<Parked>,
}

#[derive(Debug)]
struct Parked {
    waker: Waker,
    /// When it wakes by itself.
    alarm: Option<Instant>,
}

/// What is done about wakers once the lock is released: waking runs foreign code, and
/// dropping the last waker of a task may drop the task.
#[derive(Debug)]
pub(super) struct Wakes {
    wake: Few<Waker>,
    discard: Option<Waker>,
}

impl Wakes {
    pub(super) const fn new() -> Self {
        Self { wake: Few::new(), discard: None }
    }

    #[inline]
    pub(super) fn run(self) {
        if self.wake.is_empty() {
            return;
        }
        for waker in self.wake {
            waker.wake();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Members {
    slots: Vec<Option<Member>>,
    /// Those that can take a message, in the order in which they came.
    waiting: VecDeque<u32>,
    parked: usize,
    /// While any is parked: none of them has a later alarm. `None` when one may have none.
    latest_alarm: Option<Instant>,
    /// The largest limit that any member has had.
    largest_limit: usize,
}

impl Members {
    pub(super) fn join(&mut self, limit: usize) -> u32 {
        self.largest_limit = self.largest_limit.max(limit);
        let member = Member {
            limit,
            held: 0,
            left: false,
            forgotten: false,
            full_since: None,
            parked: None,
        };
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(slot) => {
                self.slots[slot] = Some(member);
                slot
            }
            None => {
                self.slots.push(Some(member));
                self.slots.len() - 1
            }
        };
        slot as u32
    }

    pub(super) fn get(&self, id: u32) -> Option<&Member> {
        self.slots.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Member> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Those that take messages.
    pub(super) fn active(&self) -> usize {
        let members = self.slots.iter().flatten();
        members.filter(|member| !member.left).count()
    }

    /// The largest `max_in_flight` that any member has had.
    pub(super) fn largest_limit(&self) -> usize {
        self.largest_limit
    }

    /// A message of `id` is settled or was given back.
    pub(super) fn release(&mut self, id: u32, wakes: &mut Wakes) {
        let Some(member) = self.get_mut(id) else {
            return;
        };
        member.held -= 1;
        if member.full_since.take().is_some() {
            self.wake(id, wakes);
        }
        self.collect(id);
    }

    /// Stops giving messages to `id`.
    pub(super) fn leave(&mut self, id: u32, wakes: &mut Wakes) {
        if let Some(member) = self.get_mut(id) {
            member.left = true;
            member.full_since = None;
            self.attend(id, wakes);
        }
    }

    /// `id` is not waiting any more, by its own doing.
    pub(super) fn attend(&mut self, id: u32, wakes: &mut Wakes) {
        if self.parked > 0
            && let Some(parked) = self.unpark(id)
        {
            wakes.discard = Some(parked.waker);
        }
    }

    /// Nobody refers to `id` any more: its place can be used again once it holds nothing.
    pub(super) fn forget(&mut self, id: u32) {
        if let Some(member) = self.get_mut(id) {
            member.forgotten = true;
        }
        self.collect(id);
    }

    fn collect(&mut self, id: u32) {
        if let Some(member) = self.get(id)
            && member.forgotten
            && member.held == 0
        {
            self.slots[id as usize] = None;
        }
    }

    /// `id` waits to be woken, at `alarm` by itself.
    pub(super) fn park(
        &mut self,
        id: u32,
        waker: &Waker,
        alarm: Option<Instant>,
        wakes: &mut Wakes,
    ) {
        let waker = match self.unpark(id) {
            Some(parked) if parked.waker.will_wake(waker) => parked.waker,
            Some(parked) => {
                wakes.discard = Some(parked.waker);
                waker.clone()
            }
            None => waker.clone(),
        };
        let Some(member) = self.get_mut(id) else {
            return;
        };
        member.parked = Some(Parked { waker, alarm });
        let full = member.full_since.is_some();
        self.latest_alarm = match self.parked {
            0 => alarm,
            _ => self.latest_alarm.zip(alarm).map(|(latest, alarm)| latest.max(alarm)),
        };
        self.parked += 1;
        if !full {
            self.waiting.push_back(id);
        }
    }

    fn unpark(&mut self, id: u32) -> Option<Parked> {
        let parked = self.get_mut(id)?.parked.take()?;
        self.parked -= 1;
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == id) {
            self.waiting.remove(at);
        }
        Some(parked)
    }

    fn wake(&mut self, id: u32, wakes: &mut Wakes) {
        if let Some(parked) = self.unpark(id) {
            wakes.wake.push(parked.waker);
        }
    }

    pub(super) fn any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// There is a message to be had.
    pub(super) fn wake_for_message(&mut self, wakes: &mut Wakes) {
        for _ in 0..WOKEN_AT_ONCE {
            let Some(&id) = self.waiting.front() else {
                return;
            };
            self.wake(id, wakes);
        }
    }

    /// Something becomes due at `due`: whoever would sleep through it sets its alarm anew.
    pub(super) fn set_alarms(&mut self, due: Instant, wakes: &mut Wakes) {
        // So that a delivery does not look at every member.
        if self.parked == 0 || self.latest_alarm.is_some_and(|latest| latest <= due) {
            return;
        }
        for id in 0..self.slots.len() as u32 {
            let late = |parked: &Parked| parked.alarm.is_none_or(|alarm| alarm > due);
            if self.get(id).is_some_and(|member| member.parked.as_ref().is_some_and(late)) {
                self.wake(id, wakes);
            }
        }
        self.latest_alarm = Some(due);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_who_would_sleep_through_it_is_woken() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut members = Members::default();
        for alarm in [Some(at(3)), Some(at(1)), None, Some(at(2))] {
            let id = members.join(1);
            members.park(id, Waker::noop(), alarm, &mut Wakes::new());
        }
        // Each time the latest alarms are beyond it.
        for (due, left) in [(at(4), 3), (at(4), 3), (at(3), 3), (at(2), 2), (at(1), 1)] {
            members.set_alarms(due, &mut Wakes::new());
            assert_eq!(members.parked, left);
        }
        let id = members.join(1);
        members.park(id, Waker::noop(), Some(at(5)), &mut Wakes::new());
        members.set_alarms(at(2), &mut Wakes::new());
        assert_eq!(members.parked, 1, "the one with the earliest alarm sleeps on");
        assert_eq!(members.latest_alarm, Some(at(2)), "what is due later looks at nobody");
    }
}
