//! What happens at the desk when messages arrive and when time passes.

use std::time::{Duration, Instant, SystemTime};

use async_nats::Subject;
use bytes::Bytes;
use eventbus_core::{Topic, backend::Content};

use crate::{
    desk::{ACK, Desk, Held, State, Status, nack},
    words::Words,
};

/// A message that the server has just delivered.
pub(crate) struct Arrival {
    pub(crate) consumer: usize,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) reply: Subject,
    pub(crate) topic: Topic,
    pub(crate) content: Content,
    pub(crate) attempt: u32,
    pub(crate) published_at: SystemTime,
    pub(crate) key: Option<u64>,
    /// It, or one behind it, was delivered before.
    pub(crate) repeated: bool,
    /// Nobody else reads from this consumer, so that what is settled here is settled, even if
    /// the server has forgotten it.
    pub(crate) alone: bool,
    /// The client cannot read it, so that each delivery costs the connection.
    pub(crate) unreadable: bool,
}

impl Desk {
    /// Takes messages in. Gives what is to be said about them at once; what nobody will get here
    /// any more is given back with the rest.
    pub(crate) fn admit(&self, arrivals: impl Iterator<Item = Arrival>) -> Words {
        let mut words = Vec::new();
        {
            let now = Instant::now();
            let mut state = self.lock();
            for arrival in arrivals {
                state.requested = state.requested.saturating_sub(1);
                if state.stopped {
                    state.given_back.push((arrival.reply, nack(Duration::ZERO)));
                } else if let Some(reply) = self.admit_one(&mut state, arrival, now) {
                    words.push((reply, Bytes::from_static(ACK)));
                }
            }
            if state.owed.len() > 4 * self.max_in_flight.max(256) {
                // Other members of the group have them by now.
                state.owed.clear();
            }
        }
        self.wake_reader();
        words
    }

    /// Gives the reply subject back when the message was settled long ago.
    fn admit_one(&self, state: &mut State, arrival: Arrival, now: Instant) -> Option<Subject> {
        let mut expired_before = false;
        if arrival.attempt > 1 || arrival.repeated {
            let (consumer, sequence) = (arrival.consumer, arrival.sequence);
            let same = |held: &Held| held.consumer == consumer && held.sequence == sequence;
            let known = state.messages.iter().find(|(_, held)| same(held)).map(|(token, _)| token);
            let owed = state.owed.remove(&(consumer, sequence));
            if let Some(token) = known {
                if self.is_still_here(state, token, &arrival, now) {
                    return None;
                }
                state.messages.remove(token);
                state.out -= 1;
                expired_before = true;
            } else if arrival.repeated && arrival.alone && owed.is_none() {
                return Some(arrival.reply);
            }
            expired_before |= owed.unwrap_or(false);
        }
        state.insert(Held {
            consumer: arrival.consumer,
            epoch: arrival.epoch,
            sequence: arrival.sequence,
            reply: arrival.reply,
            topic: arrival.topic,
            content: arrival.content,
            attempt: arrival.attempt,
            published_at: arrival.published_at,
            touched: now,
            key: arrival.key,
            expired_before,
            unreadable: arrival.unreadable,
            status: Status::Ready,
        });
        None
    }

    /// The server delivers again what is here. If that is because the application had its
    /// `ack_wait`, this is a new attempt; else only the reply subject is new.
    fn is_still_here(
        &self,
        state: &mut State,
        token: u64,
        arrival: &Arrival,
        now: Instant,
    ) -> bool {
        let Some(held) = state.messages.get_mut(token) else { return false };
        if held.is_out() && !self.stays_here(held) && held.epoch == arrival.epoch {
            return false;
        }
        held.epoch = arrival.epoch;
        held.reply = arrival.reply.clone();
        held.touched = now;
        true
    }

    /// Lets expire what has had its `ack_wait`, and what waits for its redelivery here come
    /// again. Gives what needs more time at the server.
    pub(crate) fn sweep(&self) -> Vec<Subject> {
        let now = Instant::now();
        let mut in_progress = Vec::new();
        let mut expired = Vec::new();
        let mut state = self.lock();
        state.release_due(now);
        let stopped = state.stopped;
        for (token, held) in state.messages.iter_mut() {
            if let Status::Out { expires, .. } = held.status
                && expires <= now
            {
                expired.push(token);
                continue;
            }
            let ours = (self.stays_here(held) && !stopped) || !held.is_out();
            if ours && now.duration_since(held.touched) >= self.ack_wait / 3 {
                held.touched = now;
                in_progress.push(held.reply.clone());
            }
        }
        for token in expired {
            in_progress.extend(self.expire(&mut state, token));
        }
        drop(state);
        self.wake_reader();
        in_progress
    }

    /// Gives the reply subject when the message stays here for another attempt.
    fn expire(&self, state: &mut State, token: u64) -> Option<Subject> {
        let held = state.messages.remove(token)?;
        state.out -= 1;
        if self.stays_here(&held) && !state.stopped {
            let reply = held.reply.clone();
            let attempt = held.attempt.saturating_add(1);
            state.again(Held { attempt, expired_before: true, touched: Instant::now(), ..held });
            return Some(reply);
        }
        state.owed.insert((held.consumer, held.sequence), true);
        state.next_of(held.key);
        self.freed(state);
        None
    }
}
