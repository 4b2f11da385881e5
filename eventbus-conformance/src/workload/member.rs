//! Members of the group: they receive, settle and write both down.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventbus_core::{
    Delivery, EventBus, ReceiveError, SettleError, SubscribeOptions, Subscription, TopicFilter,
};
use tokio::{sync::watch, task::JoinHandle};

use super::{MAX_ATTEMPTS, Recorder, Settled, Value};
use crate::{Result, within};

/// Every how manieth acknowledgement is confirmed.
const CONFIRMED: u64 = 16;
/// How long a message that was nacked first stays away.
const LATER: Duration = Duration::from_millis(20);
/// How long a member waits before it subscribes anew.
const AGAIN: Duration = Duration::from_millis(50);

/// What members have in common.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) filter: TopicFilter,
    pub(super) options: SubscribeOptions,
    pub(super) poison: Option<u64>,
    pub(super) recorder: Recorder,
    /// How long each delivery takes, in milliseconds.
    pub(super) work: Arc<AtomicU64>,
}

pub(super) struct Member {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Member {
    pub(super) async fn join(group: &Group) -> Result<Self> {
        let subscription = group.bus.subscribe(&group.filter, group.options.clone()).await?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(group.clone().work(subscription, stopped));
        Ok(Self { stop, task })
    }

    pub(super) async fn leave(self) -> Result {
        self.stop.send_replace(true);
        within("a member to leave", self.task).await??;
        Ok(())
    }
}

impl Group {
    async fn work(self, mut subscription: Subscription, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let Some(why) = self.read_until(&mut stopped, &mut subscription).await else {
                return;
            };
            self.recorder.ended(why);
            let again = tokio::select! {
                again = self.subscribe_again() => again,
                () = told_to_stop(&mut stopped) => return,
            };
            subscription = again;
        }
    }

    /// Why the subscription ended; `None` when it was stopped.
    async fn read_until(
        &self,
        stopped: &mut watch::Receiver<bool>,
        subscription: &mut Subscription,
    ) -> Option<String> {
        let stopper = subscription.stopper();
        let mut reading = pin!(self.read(subscription));
        tokio::select! {
            why = &mut reading => Some(why),
            () = told_to_stop(stopped) => {
                stopper.stop();
                reading.await;
                None
            }
        }
    }

    async fn subscribe_again(&self) -> Subscription {
        loop {
            match self.bus.subscribe(&self.filter, self.options.clone()).await {
                Ok(subscription) => return subscription,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Reads to the end, and says why it came.
    async fn read(&self, subscription: &mut Subscription) -> String {
        let mut count = 0;
        let mut why = "without an error".to_owned();
        while let Some(item) = subscription.next().await {
            match item {
                Ok(delivery) => {
                    count += 1;
                    self.handle(delivery, count).await;
                }
                Err(ReceiveError::Undecodable(message)) => {
                    let info = message.info();
                    self.recorder.delivered(None, info.position.clone(), info.attempt);
                    let _ = message.ack().await;
                }
                Err(error) => why = error.to_string(),
            }
        }
        why
    }

    async fn handle(&self, delivery: Delivery, count: u64) {
        let value = Value::of(delivery.envelope());
        let position = delivery.position().clone();
        let attempt = delivery.attempt();
        self.recorder.delivered(value, position.clone(), attempt);
        let work = self.work.load(Ordering::Relaxed);
        if work > 0 {
            tokio::time::sleep(Duration::from_millis(work)).await;
        }
        let poisoned = match (value, self.poison) {
            (Some(value), Some(every)) => value.counter % every == every - 1,
            _ => false,
        };
        let (outcome, how): (Result<(), SettleError>, _) = if poisoned {
            let last = attempt >= MAX_ATTEMPTS;
            let how = if last { Settled::Exhausted } else { Settled::Nacked };
            // Time for its successors, which must not use it where the order is kept.
            let delay = if attempt == 1 { LATER } else { Duration::ZERO };
            (delivery.nack(delay).await, how)
        } else if count.is_multiple_of(CONFIRMED) {
            (delivery.ack_confirmed().await, Settled::Confirmed)
        } else {
            (delivery.ack().await, Settled::Sent)
        };
        match (outcome, how) {
            (Ok(()), how) => self.recorder.settled(position, how),
            // Without its confirmation it may have arrived all the same.
            (Err(error), Settled::Confirmed) if error.error().is_ambiguous() => {
                self.recorder.settled(position, Settled::Sent);
            }
            // What could not be settled comes again.
            (Err(_), _) => {}
        }
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the member is gone.
    let _ = stopped.wait_for(|stop| *stop).await;
}
