//! A group: its position in each topic, what is under way, and its members. A subscription
//! without a group is a group of its own that nobody else can join.

mod dispatch;
mod entries;
mod keys;
mod members;
mod settle;
mod topics;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Context,
    time::{Duration, Instant},
};

use eventbus_core::{
    Error, Ordering, SubscribeOptions, SubscriptionHealth, TopicFilter,
    backend::{Incoming, Settlement},
};

use crate::{error, log::Log};
use entries::Entries;
use keys::Keys;
use members::{Members, Wakes};
use topics::Topics;

/// How many messages may be passed over or wait for their redelivery before no new ones are
/// taken, unless this many times the window is more.
const LEAST_BEHIND: usize = 1 << 16;
const WINDOWS_BEHIND: usize = 16;

/// The time; with Tokio's clock paused in a test, that of the test.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What all members of a group must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Agreed {
    filter: TopicFilter,
    ack_wait: Duration,
    ordering: Ordering,
    cumulative: bool,
}

/// What a member gets when it asks for a message.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Incoming),
    Truncated(Error),
    /// Nothing now, but something may come at once: it asks again without waiting.
    Soon,
    /// Nothing now; it is woken, or asks again at that time.
    Wait(Option<Instant>),
}

impl Next {
    const NOTHING: Self = Self::Wait(None);

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Wait(_))
    }
}

/// How a member's messages come back to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GiveBack {
    /// In an orderly shutdown: the attempt does not count.
    Uncounted,
    /// The bus was dropped: the attempt counts, as after a crash.
    Counted,
}

pub(crate) struct Group {
    agreed: Agreed,
    /// A subscription without a group: nobody can come after it.
    alone: bool,
    itself: Weak<Self>,
    state: Mutex<State>,
}

struct State {
    ack_wait: Duration,
    cumulative: bool,
    topics: Topics,
    entries: Entries,
    /// With per-key order.
    keys: Option<Keys>,
    members: Members,
    /// How many redeliveries were handed out since the last new message.
    redelivered: usize,
    /// Whether a key whose turn it is goes before a new message of a topic.
    key_first: bool,
    /// Up to which handing-out a cumulative acknowledgement has come.
    covered: u64,
}

impl Group {
    pub(crate) fn new(filter: TopicFilter, options: &SubscribeOptions) -> Arc<Self> {
        let agreed = Agreed::new(filter, options);
        let keys = (agreed.ordering == Ordering::PerKey).then(Keys::default);
        Arc::new_cyclic(|itself| Self {
            itself: itself.clone(),
            state: Mutex::new(State {
                ack_wait: agreed.ack_wait,
                cumulative: agreed.cumulative,
                topics: Topics::default(),
                entries: Entries::new(),
                keys,
                members: Members::default(),
                redelivered: 0,
                key_first: false,
                covered: 0,
            }),
            agreed,
            alone: options.group.is_none(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn filter(&self) -> &TopicFilter {
        &self.agreed.filter
    }

    /// Adds a topic, to be read from `next` on.
    pub(crate) fn attach(&self, log: Arc<Log>, next: u64) {
        self.lock().topics.attach(self.itself.clone(), log, next);
    }

    /// Adds a member.
    pub(crate) fn join(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<u32, Error> {
        self.agreed.check(&Agreed::new(filter.clone(), options))?;
        let mut state = self.lock();
        if state.cumulative && state.members.active() > 0 {
            return Err(error::second_cumulative_member());
        }
        Ok(state.members.join(options.max_in_flight))
    }

    /// There is more in a topic of which everything had been read.
    pub(crate) fn signal(&self, topic: u32) {
        let mut wakes = Wakes::new();
        {
            let mut state = self.lock();
            state.topics.queue(topic);
            state.members.wake_for_message(&mut wakes);
        }
        wakes.run();
    }

    /// The next message for a member. A patient one may be told to ask again `Soon`.
    pub(crate) fn next(&self, member: u32, cx: &mut Context<'_>, patient: bool) -> Next {
        let mut wakes = Wakes::new();
        let next = self.lock().next(member, cx, now(), patient, &mut wakes);
        wakes.run();
        next
    }

    pub(crate) fn settle(&self, token: u64, settlement: Settlement) -> Result<(), Error> {
        let mut wakes = Wakes::new();
        let result = self.lock().settle(token, settlement, now(), &mut wakes);
        wakes.run();
        result
    }

    /// A member takes no more messages; what it holds stays with it.
    pub(crate) fn leave(&self, member: u32) {
        let mut wakes = Wakes::new();
        {
            let mut state = self.lock();
            let now = now();
            // What ran out of time until now did so while the member was there.
            state.expire(now, &mut wakes);
            state.members.leave(member, &mut wakes);
            if state.has_message(now) {
                // It may have been woken for a message that it did not take.
                state.members.wake_for_message(&mut wakes);
            }
        }
        wakes.run();
    }

    /// What a member that has left still holds goes to the others at once.
    pub(crate) fn give_back(&self, member: u32, how: GiveBack) {
        let mut wakes = Wakes::new();
        self.lock().give_back(member, how, now(), &mut wakes);
        wakes.run();
    }

    /// Nobody refers to the member any more.
    pub(crate) fn forget(&self, member: u32) {
        self.lock().members.forget(member);
    }

    /// Whether a member has left and holds nothing that somebody else could get.
    pub(crate) fn is_done(&self, member: u32) -> bool {
        let state = self.lock();
        let member = state.members.get(member);
        member.is_none_or(|member| member.left && (self.alone || member.held == 0))
    }

    pub(crate) fn health(&self, member: u32, health: &mut SubscriptionHealth) {
        let state = self.lock();
        let now = now();
        if let Some(member) = state.members.get(member) {
            health.in_flight = member.held;
            let stalled = member.full_since.filter(|_| state.has_message(now));
            health.stalled = stalled.map(|since| now.saturating_duration_since(since));
        }
        if !state.takes_new() {
            health.problem = Some(
                "too many messages wait for their redelivery or behind one with their key, so no \
                 new ones are delivered; settle them, or nack with less delay"
                    .to_owned(),
            );
        }
    }
}

impl State {
    /// Whether new messages are taken: not when too many are passed over or put back.
    fn takes_new(&self) -> bool {
        let parked = self.keys.as_ref().map_or(0, Keys::parked);
        let most = LEAST_BEHIND.max(WINDOWS_BEHIND.saturating_mul(self.members.largest_limit()));
        self.entries.waiting() + parked < most && self.entries.len() < entries::MOST_ENTRIES
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.topics.detach();
    }
}

impl Agreed {
    fn new(filter: TopicFilter, options: &SubscribeOptions) -> Self {
        Self {
            filter,
            ack_wait: options.ack_wait,
            ordering: options.ordering,
            cumulative: options.cumulative,
        }
    }

    /// Refuses options that differ, naming each difference.
    fn check(&self, wanted: &Self) -> Result<(), Error> {
        if self == wanted {
            return Ok(());
        }
        let mut error = error::group_conflict();
        if self.filter != wanted.filter {
            error = differs(error, "filter", &self.filter, &wanted.filter);
        }
        if self.ack_wait != wanted.ack_wait {
            let text = |wait: Duration| format!("{wait:?}");
            error = differs(error, "ack_wait", text(self.ack_wait), text(wanted.ack_wait));
        }
        if self.ordering != wanted.ordering {
            let text = |ordering: Ordering| format!("{ordering:?}");
            error = differs(error, "ordering", text(self.ordering), text(wanted.ordering));
        }
        if self.cumulative != wanted.cumulative {
            error = differs(error, "cumulative", self.cumulative, wanted.cumulative);
        }
        Err(error)
    }
}

fn differs<T: std::fmt::Display>(error: Error, name: &'static str, has: T, wanted: T) -> Error {
    error.with_context(name, format_args!("is {has} and not {wanted}"))
}
