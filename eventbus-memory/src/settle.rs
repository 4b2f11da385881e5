//! Settling what was handed out.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use eventbus_core::backend::{Settlement, Settler, Settling, Token};

use crate::{
    error,
    group::{GiveBack, Group},
};

/// A subscription's membership in its group: what its source and its settler share.
pub(crate) struct Membership {
    pub(crate) group: Arc<Group>,
    pub(crate) member: u32,
    closed: AtomicBool,
}

impl Membership {
    pub(crate) fn new(group: Arc<Group>, member: u32) -> Self {
        Self { group, member, closed: AtomicBool::new(false) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing can be settled any more; what is held goes back to the group.
    pub(crate) fn close(&self, how: GiveBack) {
        self.closed.store(true, Ordering::Release);
        self.group.leave(self.member);
        self.group.give_back(self.member, how);
    }
}

impl Settler for Membership {
    fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        if self.is_closed() {
            return Settling::Done(Err(error::closed()));
        }
        Settling::Done(self.group.settle(token.0, settlement))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.forget(self.member);
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("filter", self.group.filter())
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
