//! How many different values a broker has by now.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use eventbus_conformance::{Failure, Result, workload::Value};
use eventbus_core::{EventBus, Start, SubscribeOptions, Subscription};
use tokio::task::JoinHandle;

use super::{TOPIC, program::Pipe};

/// Longer than a broker and a group of Kafka need to come back.
const STUCK_AFTER: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// A reader of everything.
pub(super) struct Watch {
    count: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) async fn start(bus: &Arc<dyn EventBus>) -> Result<Self> {
        let options = SubscribeOptions::new().start(Start::Earliest);
        let subscription = bus.subscribe(&TOPIC.filter(), options).await?;
        let count = Arc::<AtomicU64>::default();
        let task = tokio::spawn(read(subscription, count.clone()));
        Ok(Self { count, task })
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many have arrived; fails when a pipe ends or nothing comes any more.
    pub(super) async fn reaches(&self, enough: u64, pipes: &mut [Pipe]) -> Result {
        let (mut before, mut since) = (self.count(), Instant::now());
        while self.count() < enough {
            for pipe in &mut *pipes {
                pipe.runs()?;
            }
            if self.count() > before {
                (before, since) = (self.count(), Instant::now());
            }
            if since.elapsed() > STUCK_AFTER {
                let text = format!("{before} of {enough} arrived, and nothing for {STUCK_AFTER:?}");
                return Err(Failure::new(text));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut subscription: Subscription, count: Arc<AtomicU64>) {
    let mut seen = HashSet::new();
    while let Some(item) = subscription.next().await {
        let Ok(delivery) = item else { continue };
        if Value::of(delivery.envelope()).is_some_and(|value| seen.insert(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Without a group an acknowledgement only makes room for more.
        let _ = delivery.ack().await;
    }
}
