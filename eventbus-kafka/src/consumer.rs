//! Receiving: one consumer and one thread per subscription.

mod assigner;
mod committer;
mod desk;
mod discovery;
mod fetch;
mod offsets;
mod reader;
mod start;
mod tracker;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::consumer::BaseConsumer;

use crate::{client::Trouble, worker::Signal};
pub(crate) use assigner::Assigner;
pub(crate) use desk::{Desk, Phase, Settled, closed, unconfirmed};
pub(crate) use reader::{Opening, read};

/// The consumer as librdkafka has it.
pub(crate) type Consumer = BaseConsumer<Assigner>;

/// What a source, its settler and its thread share.
pub(crate) struct Shared {
    desk: Mutex<Desk>,
    pub(crate) signal: Signal,
    pub(crate) trouble: Trouble,
}

impl Shared {
    pub(crate) fn new(desk: Desk, signal: Signal) -> Arc<Self> {
        Arc::new(Self { desk: Mutex::new(desk), signal, trouble: Trouble::default() })
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the source: at once, or when what was handed out is settled.
    pub(crate) fn end(&self, phase: Phase) {
        {
            let mut desk = self.desk();
            match phase {
                Phase::Open => {}
                Phase::Stopped => desk.stop(),
                Phase::Closed => desk.close(),
            }
        }
        self.signal.notify();
    }
}
