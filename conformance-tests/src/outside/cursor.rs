//! The position of a group, or of one reader without a group.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use eventbus_core::{
    Error, ErrorKind, Ordering, SubscribeOptions, Topic, TopicFilter,
    backend::{Settlement, Token},
};

use super::log::{Key, Record};

/// So many may be set aside behind keys that are busy.
const MOST_OPEN: usize = 100_000;

pub(super) struct Cursor {
    pub(super) filter: TopicFilter,
    ack_wait: Duration,
    per_key: bool,
    new_first: bool,
    /// The next record to look at.
    pub(super) next: usize,
    /// Where some topics start.
    pub(super) from: HashMap<Topic, usize>,
    /// What was looked at and is not done, by its place in the log.
    open: BTreeMap<usize, Open>,
}

struct Open {
    attempts: u32,
    expired: bool,
    state: State,
}

enum State {
    /// Handed out by a source of a bus.
    Held { bus: u64, source: u64, token: Token, until: Instant },
    /// To be handed out from then on.
    Due(Instant),
}

/// A record that was handed out.
pub(super) struct Handed {
    pub(super) at: usize,
    pub(super) attempt: u32,
    pub(super) expired: bool,
    pub(super) until: Instant,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) bus: u64,
    pub(super) source: u64,
    pub(super) token: Token,
}

impl Cursor {
    pub(super) fn new(filter: TopicFilter, options: &SubscribeOptions) -> Self {
        Self {
            filter,
            ack_wait: options.ack_wait,
            per_key: options.ordering == Ordering::PerKey,
            new_first: false,
            next: 0,
            from: HashMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// How many a source has handed out.
    pub(super) fn held_by(&self, wanted: u64) -> usize {
        let held =
            |open: &&Open| matches!(open.state, State::Held { source, .. } if source == wanted);
        self.open.values().filter(held).count()
    }

    fn expire(&mut self, now: Instant) {
        for open in self.open.values_mut() {
            if let State::Held { until, .. } = open.state
                && until <= now
            {
                open.expired = true;
                open.state = State::Due(now);
            }
        }
    }

    /// When something changes by itself.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let now = Instant::now();
        let change = |open: &Open| match open.state {
            State::Held { until, .. } => until,
            State::Due(at) => at,
        };
        self.open.values().map(change).filter(|at| *at > now).min()
    }

    /// Hands out a record: one that comes again and a new one take turns.
    pub(super) fn hand_out(&mut self, records: &[Record], asker: Asker) -> Option<Handed> {
        let now = Instant::now();
        self.expire(now);
        self.new_first = !self.new_first;
        let (due, busy) = self.first_due(records, now);
        let at = if self.new_first || due.is_none() {
            self.first_new(records, &busy, now).or(due)
        } else {
            due
        };
        let at = at?;
        let open = self.open.get_mut(&at)?;
        Some(open.hand_out(at, now + self.ack_wait, asker))
    }

    /// The first that is to come again, and the keys that are busy.
    fn first_due<'a>(
        &self,
        records: &'a [Record],
        now: Instant,
    ) -> (Option<usize>, HashSet<Key<'a>>) {
        let mut busy = HashSet::new();
        let mut first = None;
        for (at, open) in &self.open {
            let waits = self.per_key && records[*at].key().is_some_and(|key| !busy.insert(key));
            if !waits && matches!(open.state, State::Due(due) if due <= now) {
                first = first.or(Some(*at));
            }
        }
        (first, busy)
    }

    /// Goes on in the log to the next record whose key is not busy, past those that wait.
    fn first_new(
        &mut self,
        records: &[Record],
        busy: &HashSet<Key<'_>>,
        now: Instant,
    ) -> Option<usize> {
        while self.next < records.len() && self.open.len() < MOST_OPEN {
            let at = self.next;
            self.next += 1;
            let topic = &records[at].topic;
            if !self.filter.matches(topic) || self.from.get(topic).is_some_and(|from| at < *from) {
                continue;
            }
            self.open.insert(at, Open { attempts: 0, expired: false, state: State::Due(now) });
            let waits = self.per_key && records[at].key().is_some_and(|key| busy.contains(&key));
            if !waits {
                return Some(at);
            }
        }
        None
    }

    pub(super) fn settle(&mut self, wanted: Token, settlement: Settlement) -> Result<(), Error> {
        let now = Instant::now();
        self.expire(now);
        let held = |open: &Open| matches!(open.state, State::Held { token, .. } if token == wanted);
        let Some((at, open)) = self.open.iter_mut().find(|(_, open)| held(open)) else {
            return Err(Error::new(ErrorKind::Expired, "it belongs to another attempt by now"));
        };
        match settlement {
            Settlement::Nack(delay) => {
                open.expired = false;
                open.state = State::Due(now + delay);
            }
            Settlement::Extend => {
                if let State::Held { until, .. } = &mut open.state {
                    *until = now + self.ack_wait;
                }
            }
            _ => {
                let at = *at;
                self.open.remove(&at);
            }
        }
        Ok(())
    }

    /// A bus is gone: what it had handed out comes again in its time, and that is nobody's
    /// fault.
    pub(super) fn forget_bus(&mut self, gone: u64) {
        for open in self.open.values_mut() {
            if let State::Held { bus, until, .. } = open.state
                && bus == gone
            {
                open.expired = false;
                open.state = State::Due(until);
            }
        }
    }
}

impl Open {
    fn hand_out(&mut self, at: usize, until: Instant, asker: Asker) -> Handed {
        let Asker { bus, source, token } = asker;
        self.attempts += 1;
        self.state = State::Held { bus, source, token, until };
        let expired = std::mem::take(&mut self.expired);
        Handed { at, attempt: self.attempts, expired, until }
    }
}
