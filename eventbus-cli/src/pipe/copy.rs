//! The copying itself: one task, a bounded number of events under way.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use eventbus::{
    Delivery, Error, ErrorKind, EventBus, HealthStatus, PublishError, PublishOptions, Receipt,
    ReceiveError, Subscription, Undecodable,
};
use futures_util::{
    StreamExt,
    stream::{FuturesUnordered, select_all},
};

use tokio_util::sync::CancellationToken;

use super::report::{Tally, increment};
use crate::{
    exit::{Failure, complain},
    interrupt::Interrupt,
};

/// Why copying ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Done,
    Interrupted,
}

pub(super) struct Copying<'a> {
    pub(super) from: &'a dyn EventBus,
    pub(super) to: &'a dyn EventBus,
    pub(super) tally: &'a Tally,
    pub(super) interrupt: &'a Interrupt,
    /// How many events may be under way.
    pub(super) window: usize,
    pub(super) count: Option<u64>,
    pub(super) until_idle: Option<Duration>,
    pub(super) skip_undecodable: bool,
    /// Whether the source has a topic for what cannot be copied.
    pub(super) dead_letters: bool,
    /// Nothing is tried again from now on.
    pub(super) ending: CancellationToken,
}

/// What became of one event.
enum Outcome {
    /// Stored at the destination, whatever the source says to the acknowledgement.
    Copied,
    /// It comes again, from the source, or it is a dead letter.
    Not,
    Failed(Failure),
}

/// The pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Copying<'_> {
    /// Copies until it is done, interrupted, or cannot go on. What is under way then is waited for
    /// before the subscriptions end: an event given back later than its key's next one would come
    /// after it.
    pub(super) async fn run(&self, subscriptions: Vec<Subscription>) -> Result<Ended, Failure> {
        let mut items = select_all(subscriptions);
        let mut under_way = FuturesUnordered::new();
        let mut copied = 0;
        let outcome = loop {
            self.tally.in_flight.set(under_way.len());
            let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(copied));
            if left == 0 {
                break Ok(Ended::Done);
            }
            let room = under_way.len() < self.window && (under_way.len() as u64) < left;
            tokio::select! {
                biased;
                () = self.interrupt.requested() => break Ok(Ended::Interrupted),
                Some(outcome) = under_way.next() => match outcome {
                    Outcome::Copied => copied += 1,
                    Outcome::Not => {}
                    Outcome::Failed(failure) => break Err(failure),
                },
                item = items.next(), if room => match item {
                    Some(Ok(delivery)) => under_way.push(self.one(delivery)),
                    Some(Err(error)) => {
                        if let Err(failure) = self.not_a_delivery(error).await {
                            break Err(failure);
                        }
                    }
                    None => break Err(Failure::failed("the source has ended all subscriptions")),
                },
                () = self.idle(), if under_way.is_empty() => break Ok(Ended::Done),
            }
        };
        self.ending.cancel();
        if !under_way.is_empty() && self.interrupt.is_requested() {
            complain(&format!(
                "waiting for {} under way; Ctrl-C again ends at once",
                under_way.len()
            ));
        }
        let mut outcome = outcome;
        while let Some(ended) = under_way.next().await {
            self.tally.in_flight.set(under_way.len());
            if let (Outcome::Failed(failure), true) = (ended, outcome.is_ok()) {
                outcome = Err(failure);
            }
        }
        outcome
    }

    /// Resolves when nothing has come for long enough although the source is well.
    async fn idle(&self) {
        let Some(period) = self.until_idle else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(period).await;
            if self.from.health().await.status == HealthStatus::Healthy {
                return;
            }
        }
    }

    /// Copies one event; its key's next one comes only after that.
    async fn one(&self, delivery: Delivery) -> Outcome {
        let stored = {
            let storing = pin!(self.store(&delivery));
            let lapsing = pin!(self.keep(&delivery));
            tokio::select! {
                biased;
                stored = storing => Some(stored),
                () = lapsing => None,
            }
        };
        match stored {
            Some(Ok(Some(receipt))) => {
                self.acknowledge(delivery, &receipt).await;
                Outcome::Copied
            }
            Some(Err(error)) => self.refused(delivery, error).await,
            // The source gives it to the next run.
            Some(Ok(None)) => {
                increment(&self.tally.given_back);
                // If the source is away, it does the same by itself.
                let _ = delivery.nack(Duration::ZERO).await;
                Outcome::Not
            }
            None => {
                increment(&self.tally.given_back);
                Outcome::Not
            }
        }
    }

    /// Publishes until the destination has it; `None` when the pipe ends before that.
    async fn store(&self, delivery: &Delivery) -> Result<Option<Receipt>, Error> {
        // Where the destination can tell, it keeps what is sent twice only once.
        let mut options = PublishOptions::new();
        options.idempotent = self.to.capabilities().idempotent_publish;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.publish(delivery, options.clone()).await {
                Ok(receipt) => {
                    self.going_on();
                    return Ok(Some(receipt));
                }
                Err(error) => Error::from(error),
            };
            if !(error.is_temporary() || error.is_ambiguous()) {
                return Err(error);
            }
            self.wait_for_destination(&error);
            tokio::select! {
                biased;
                () = self.ending.cancelled() => return Ok(None),
                () = tokio::time::sleep(pause) => {}
            }
            increment(&self.tally.retried);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn publish(
        &self,
        delivery: &Delivery,
        options: PublishOptions,
    ) -> Result<Receipt, PublishError> {
        let envelope = delivery.envelope().clone();
        let topic = delivery.topic();
        self.to.publish_with_receipt_opts(topic, envelope, options).await?.await
    }

    fn wait_for_destination(&self, error: &Error) {
        if !self.tally.waiting.replace(true) {
            complain(&format!("note: waiting for the destination: {error}"));
        }
    }

    fn going_on(&self) {
        if self.tally.waiting.replace(false) {
            complain("note: the destination takes events again");
        }
    }

    /// Keeps the source from giving the delivery to somebody else; resolves when it has.
    async fn keep(&self, delivery: &Delivery) {
        // Three tries within the `ack_wait`.
        let period = eventbus::SubscribeOptions::new().ack_wait / 4;
        loop {
            tokio::time::sleep(period).await;
            // Anything else is over soon, or the source counts it as expired.
            if let Err(error) = delivery.extend().await
                && error.kind() == ErrorKind::Expired
            {
                return;
            }
        }
    }

    async fn acknowledge(&self, delivery: Delivery, receipt: &Receipt) {
        let tally = self.tally;
        tally.lag.set(SystemTime::now().duration_since(delivery.published_at()).ok());
        increment(&tally.copied);
        if receipt.is_duplicate() {
            increment(&tally.already_there);
        }
        if let Err(error) = delivery.ack().await {
            if tally.unacknowledged.get() == 0 {
                let error = error.error();
                complain(&format!(
                    "warning: copied, but not acknowledged, so it comes again: {error}"
                ));
            }
            increment(&tally.unacknowledged);
        }
    }

    /// The destination will not take it, ever.
    async fn refused(&self, delivery: Delivery, error: Error) -> Outcome {
        let only_this = matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::InvalidEnvelope);
        if only_this && self.dead_letters {
            return match delivery.reject(error.to_string()).await {
                Ok(()) => Outcome::Not,
                Err(error) => Outcome::Failed(Error::from(error).into()),
            };
        }
        let place =
            format!("{} at {} was not copied: ", delivery.envelope().id(), delivery.position());
        let mut failure = Failure::from(error).context(&place);
        if only_this {
            failure = failure.tip("--dead-letter TOPIC moves such events aside and goes on");
        }
        // Nobody needs to wait for it: the next run may be able to.
        let _ = delivery.nack(Duration::ZERO).await;
        Outcome::Failed(failure)
    }

    async fn not_a_delivery(&self, error: ReceiveError) -> Result<(), Failure> {
        match error {
            ReceiveError::Undecodable(message) => self.undecodable(*message).await,
            ReceiveError::Truncated(error) => {
                complain(&format!("warning: {error}"));
                increment(&self.tally.gaps);
                Ok(())
            }
            error => Err(Error::from(error).into()),
        }
    }

    async fn undecodable(&self, message: Undecodable) -> Result<(), Failure> {
        let (position, why) = (message.info().position.clone(), message.error().clone());
        if !self.skip_undecodable {
            let failure = Failure::from(why).context(&format!("{position} is no envelope: "));
            let tip = "--skip-undecodable leaves such messages out, --dead-letter TOPIC moves them \
                       aside; a topic that other programs write needs `raw=TOPIC` in both URLs";
            let _ = message.nack(Duration::ZERO).await;
            return Err(failure.tip(tip));
        }
        complain(&format!("skipped: {position} is no envelope: {why}"));
        increment(&self.tally.skipped);
        message.ack().await.map_err(|error| Error::from(error).into())
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests;
