//! The consuming side of a load.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use eventbus_core::{Delivery, Error, ReceiveError, Subscription};
use tokio::{sync::watch, time::sleep};

use crate::{
    latency::Latencies,
    run::Progress,
    seen::Seen,
    stamp::{Origin, Stamp},
};

/// Every so many settlements are timed, and told of: to do so with all would be seen in the rate.
const SETTLE_EVERY: u64 = 16;
/// How often the reader looks whether anything still comes.
const TICK: Duration = Duration::from_millis(500);
/// After so many silent ticks it gives up on messages that are missing,
const PATIENCE: u32 = 20;
/// or after so many when it has seen the last message of every key.
const PATIENCE_AT_THE_END: u32 = 2;

/// A consumer that acknowledges everything and keeps account of it.
pub(crate) struct Reader {
    pub(crate) subscription: Subscription,
    pub(crate) origin: Origin,
    pub(crate) progress: Progress,
    pub(crate) seen: Seen,
    /// Where messages tell when they were made.
    pub(crate) e2e: Option<Latencies>,
    pub(crate) settle: Latencies,
    /// Messages of this run that were settled, each counted once.
    pub(crate) settled: u64,
    /// When the last of them was; where some are missing, to [`SETTLE_EVERY`] of them.
    pub(crate) last: Instant,
}

impl Reader {
    pub(crate) fn new(
        subscription: Subscription,
        origin: Origin,
        progress: Progress,
        seen: Seen,
        end_to_end: bool,
    ) -> Self {
        Self {
            subscription,
            origin,
            progress,
            seen,
            e2e: end_to_end.then(Latencies::new),
            settle: Latencies::new(),
            settled: 0,
            last: Instant::now(),
        }
    }

    /// Reads until it has seen as many different messages as `expected` says, once it says
    /// so, or until nothing comes any more.
    ///
    /// # Errors
    /// What ends the subscription.
    pub(crate) async fn read(
        mut self,
        expected: watch::Receiver<Option<u64>>,
    ) -> Result<Self, Error> {
        let mut expected = expected;
        let mut goal = *expected.borrow_and_update();
        let mut tick = pin!(sleep(TICK));
        let (mut counted, mut silent) = (0, 0);
        while goal.is_none_or(|goal| self.seen.distinct() < goal) {
            tokio::select! {
                biased;
                item = self.subscription.next() => match item {
                    Some(item) => self.take(item).await?,
                    None => break,
                },
                Ok(()) = expected.changed(), if goal.is_none() => {
                    goal = *expected.borrow_and_update();
                }
                () = &mut tick => {
                    silent = if counted == self.seen.distinct() { silent + 1 } else { 0 };
                    counted = self.seen.distinct();
                    if goal.is_some() && silent >= self.patience() {
                        break;
                    }
                    tick.set(sleep(TICK));
                }
            }
        }
        if goal.is_some_and(|goal| self.seen.distinct() >= goal) {
            self.last = Instant::now();
        }
        (self.progress)(self.settled % SETTLE_EVERY);
        Ok(self)
    }

    fn patience(&self) -> u32 {
        if self.seen.has_all_ends() { PATIENCE_AT_THE_END } else { PATIENCE }
    }

    async fn take(&mut self, item: Result<Delivery, ReceiveError>) -> Result<(), Error> {
        match item {
            Ok(delivery) => self.settle(delivery).await,
            // Not of this run.
            Err(ReceiveError::Undecodable(message)) => message.ack().await.map_err(Error::from),
            // What it tells of is missing in the end.
            Err(ReceiveError::Truncated(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn settle(&mut self, delivery: Delivery) -> Result<(), Error> {
        let stamp = Stamp::read(delivery.envelope().payload());
        let Some(stamp) = stamp.filter(|stamp| stamp.run == self.origin.run) else {
            return Ok(delivery.ack().await?);
        };
        if let Some(e2e) = &mut self.e2e {
            e2e.record_nanos(self.origin.nanos().saturating_sub(stamp.nanos));
        }
        let fresh = self.seen.note(stamp.sequence, stamp.lane);
        let timed = self.seen.distinct().is_multiple_of(SETTLE_EVERY).then(Instant::now);
        let acked = delivery.ack().await.is_ok();
        if let Some(started) = timed {
            self.settle.record(started.elapsed());
        }
        if fresh && acked {
            self.settled += 1;
            if self.settled.is_multiple_of(SETTLE_EVERY) {
                self.last = Instant::now();
                (self.progress)(SETTLE_EVERY);
            }
        }
        Ok(())
    }
}
