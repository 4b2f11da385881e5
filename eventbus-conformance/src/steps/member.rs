//! Members of a group that work on their own.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use eventbus_core::{Stopper, Subscription};
use tokio::task::JoinHandle;

use super::{number, settle};
use crate::{Result, within};

/// Acknowledges whatever it gets, a little at a time, until it leaves.
pub(crate) struct Member {
    seen: Arc<Mutex<HashSet<u64>>>,
    stopper: Stopper,
    task: JoinHandle<Result>,
}

impl Member {
    pub(crate) fn start(mut subscription: Subscription) -> Self {
        let seen = Arc::<Mutex<HashSet<u64>>>::default();
        let (stopper, log) = (subscription.stopper(), seen.clone());
        let task = tokio::spawn(async move {
            while let Some(delivery) = subscription.try_next().await? {
                let n = number(delivery.envelope());
                log.lock().unwrap_or_else(PoisonError::into_inner).insert(n);
                // Some work, so that there is something left for others.
                tokio::time::sleep(Duration::from_millis(1)).await;
                settle(delivery.ack().await)?;
            }
            Ok(())
        });
        Self { seen, stopper, task }
    }

    /// The numbers of what it got so far.
    pub(crate) fn seen(&self) -> HashSet<u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn leave(self) -> Result {
        self.stopper.stop();
        within("the member to leave", self.task).await??
    }
}
