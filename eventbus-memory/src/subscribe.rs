//! Delivering messages.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use eventbus_core::{
    SubscriptionHealth,
    backend::{Incoming, Settler, Source, SourceError},
};
use tokio::{
    task::coop,
    time::{Sleep, sleep_until},
};

use crate::{group::Next, settle::Membership};

/// The messages of one subscription.
///
/// It has no task: a poll does what there is to do in its group, and arms one timer for what
/// is due next.
pub struct MemorySource {
    membership: Arc<Membership>,
    /// Wakes the task of the subscription when something is due.
    alarm: Option<Pin<Box<Sleep>>>,
    /// It has read everything and let others run once, in case that they publish.
    yielded: bool,
    stopped: bool,
}

impl MemorySource {
    pub(crate) fn new(membership: Arc<Membership>) -> Self {
        Self { membership, alarm: None, yielded: false, stopped: false }
    }

    /// Sees to it that the task is woken at `at` or before. Ready when it is time already.
    fn set_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = at.into();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // An earlier alarm does no harm, and setting it anew for every message costs.
        if alarm.deadline() > at || alarm.is_elapsed() {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Source for MemorySource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        // There is always something to read while publishers are faster: let others run too.
        let coop = ready!(coop::poll_proceed(cx));
        loop {
            if self.stopped || self.membership.is_closed() {
                return Poll::Ready(None);
            }
            match self.membership.group.next(self.membership.member, cx, !self.yielded) {
                Next::Message(incoming) => {
                    self.yielded = false;
                    coop.made_progress();
                    return Poll::Ready(Some(Ok(incoming)));
                }
                Next::Truncated(error) => {
                    coop.made_progress();
                    return Poll::Ready(Some(Err(SourceError::Truncated(error))));
                }
                Next::Soon => {
                    self.yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Wait(None) => return Poll::Pending,
                Next::Wait(Some(at)) => ready!(self.set_alarm(at, cx)),
            }
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.membership.clone()
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.alarm = None;
            self.membership.group.leave(self.membership.member);
        }
    }

    fn health(&self, health: &mut SubscriptionHealth) {
        self.membership.group.health(self.membership.member, health);
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource").field("membership", &self.membership).finish_non_exhaustive()
    }
}
