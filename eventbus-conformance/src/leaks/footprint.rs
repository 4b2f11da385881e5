//! Counting what a process has.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::POOL;
use crate::{Failure, PATIENCE, Result};

const POLL: Duration = Duration::from_millis(20);
/// So long nothing changes when all is at rest.
const REST: Duration = Duration::from_millis(500);

/// Live tasks, open descriptors, and threads outside of Tokio's own pools. What the system
/// does not tell counts as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) tasks: usize,
    descriptors: usize,
    threads: usize,
}

impl Footprint {
    pub(super) fn now() -> Self {
        Self {
            tasks: tasks(),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            threads: threads(),
        }
    }

    /// Waits until there are no more tasks than `tasks`, and nothing changes any more.
    pub(super) async fn at_rest(tasks: usize) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let (mut last, mut since) = (Self::now(), Instant::now());
        while last.tasks > tasks || since.elapsed() < REST {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("not at rest: {last:?}, {tasks} tasks before")));
            }
            tokio::time::sleep(POLL).await;
            let now = Self::now();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
    }

    /// Waits until no more is there than was before.
    pub(super) async fn is_restored(self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::now();
            let more = now.tasks > self.tasks
                || now.descriptors > self.descriptors
                || now.threads > self.threads;
            if !more {
                return Ok(());
            }
            if Instant::now() > deadline {
                let message = format!("left behind: {now:?}, before: {self:?}");
                return Err(Failure::new(message));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(super) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn threads() -> usize {
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let counts = |name: &str| !name.starts_with(POOL) && !name.starts_with("tokio-r");
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .filter(|name| counts(name))
        .count()
}
