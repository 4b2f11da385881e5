//! A delivered envelope and its settlement.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::de::DeserializeOwned;

use super::{Shared, dead_letter, now};
use crate::{
    AckAllError, Envelope, Error, Position, SettleError, Topic,
    backend::{Content, Incoming, Settlement, Settler, Settling, Token},
    config::LONGEST,
};

/// What is known about a delivery besides its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// Where it is stored.
    pub position: Position,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// When the broker stored it, by the broker's clock.
    pub published_at: SystemTime,
}

impl DeliveryInfo {
    /// The facts about a delivery.
    #[must_use]
    pub fn new(position: Position, attempt: u32, published_at: SystemTime) -> Self {
        Self { position, attempt, published_at }
    }

    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.position.topic()
    }
}

/// A delivered envelope, to be settled once: [`ack`](Self::ack), [`nack`](Self::nack) or
/// [`reject`](Self::reject). Settling consumes it and gives it back on failure. Dropped
/// unsettled, it is delivered again after `ack_wait`.
#[must_use = "a delivery that is not settled is delivered again"]
pub struct Delivery {
    envelope: Envelope,
    claim: Claim,
}

impl Delivery {
    /// A delivery from any settler, for decorators and test doubles. Attempts are not limited
    /// and rejecting discards, since there is no subscription that could do more.
    pub fn new(
        envelope: Envelope,
        info: DeliveryInfo,
        settler: Arc<dyn Settler>,
        token: Token,
    ) -> Self {
        let claim = Claim { info, token, holder: Holder::Settler(settler), settled: false };
        Self { envelope, claim }
    }

    pub(super) fn claimed(envelope: Envelope, claim: Claim) -> Self {
        Self { envelope, claim }
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Reads the payload as JSON; short for `envelope().to_json()`.
    ///
    /// # Errors
    /// `InvalidEnvelope` when the payload is not the JSON of a `D`.
    pub fn json<D: DeserializeOwned>(&self) -> Result<D, Error> {
        self.envelope.to_json()
    }

    /// The topic that it was published to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.claim.info.topic()
    }

    /// Where it is stored.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.claim.info.position
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.info.attempt
    }

    /// When the broker stored it, by the broker's clock.
    #[must_use]
    pub fn published_at(&self) -> SystemTime {
        self.claim.info.published_at
    }

    /// Done: it will not be delivered to this group again, unless the acknowledgement gets
    /// lost on the way to the broker.
    ///
    /// Cancelled, it may or may not be acknowledged.
    ///
    /// # Errors
    /// `Expired` after `ack_wait`, `Closed` after the bus; with the delivery.
    pub fn ack(self) -> impl Future<Output = Result<(), SettleError>> + Send {
        self.settle(Settlement::Ack)
    }

    /// Like [`ack`](Self::ack), and resolves when the broker has confirmed it.
    ///
    /// # Errors
    /// Those of `ack`, and `Unavailable` when the confirmation did not come.
    pub fn ack_confirmed(self) -> impl Future<Output = Result<(), SettleError>> + Send {
        self.settle(Settlement::AckConfirmed)
    }

    /// Not done: it is delivered again after `delay` at the earliest, of which more than 365 days
    /// count as 365. When this was the last of `max_attempts`, it moves to the dead-letter topic
    /// instead.
    ///
    /// Cancelled, it may be delivered again only after `ack_wait`.
    ///
    /// # Errors
    /// `Expired`, `Closed`, and what publishing the dead letter can say; with the delivery.
    pub async fn nack(self, delay: Duration) -> Result<(), SettleError> {
        if self.claim.is_last_attempt() {
            return self.discard(dead_letter::EXHAUSTED).await;
        }
        self.settle(Settlement::Nack(delay)).await
    }

    /// Cannot be done, ever: it moves to the dead-letter topic with `reason`, or is discarded
    /// where the subscription has none.
    ///
    /// Cancelled, it is delivered again after `ack_wait`, and the dead letter may exist.
    ///
    /// # Errors
    /// `Expired`, `Closed`, and what publishing the dead letter can say; with the delivery,
    /// which stays unsettled.
    pub async fn reject(self, reason: impl AsRef<str> + Send) -> Result<(), SettleError> {
        self.discard(reason.as_ref()).await
    }

    /// Starts the `ack_wait` anew, for work that takes longer. Cancel-safe.
    ///
    /// # Errors
    /// `Expired` when it is too late, `Closed` after the bus.
    pub async fn extend(&self) -> Result<(), Error> {
        self.claim.extend().await
    }

    /// Acknowledges many deliveries, also of different subscriptions.
    ///
    /// # Errors
    /// The deliveries that could not be acknowledged; the others were.
    pub async fn ack_all(deliveries: impl IntoIterator<Item = Self>) -> Result<(), AckAllError> {
        let mut failed = Vec::new();
        for delivery in deliveries {
            if let Err(error) = delivery.ack().await {
                failed.push(error);
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(AckAllError::new(failed)) }
    }

    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its arguments twice, and a delivery is not small"
    )]
    fn settle(
        mut self,
        settlement: Settlement,
    ) -> impl Future<Output = Result<(), SettleError>> + Send {
        async move {
            match self.claim.settle(settlement).await {
                Ok(()) => Ok(()),
                Err(error) => Err(SettleError::new(error, self)),
            }
        }
    }

    async fn discard(mut self, reason: &str) -> Result<(), SettleError> {
        match self.claim.discard(&self.envelope, reason).await {
            Ok(()) => Ok(()),
            Err(error) => Err(SettleError::new(error, self)),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("envelope", &self.envelope)
            .field("info", &self.claim.info)
            .finish_non_exhaustive()
    }
}

enum Holder {
    Settler(Arc<dyn Settler>),
    Subscription(Arc<Shared>),
}

/// The right and the duty to settle one message.
pub(crate) struct Claim {
    info: DeliveryInfo,
    token: Token,
    holder: Holder,
    settled: bool,
}

impl Claim {
    pub(super) fn new(shared: &Arc<Shared>, incoming: Incoming) -> (Self, Content) {
        let Incoming { topic, content, partition, offset, attempt, published_at, .. } = incoming;
        shared.hold(incoming.expires);
        let position = Position::new(shared.backend, topic, partition, offset);
        let claim = Self {
            info: DeliveryInfo { position, attempt, published_at },
            token: incoming.token,
            holder: Holder::Subscription(shared.clone()),
            settled: false,
        };
        (claim, content)
    }

    pub(super) fn info(&self) -> &DeliveryInfo {
        &self.info
    }

    fn start(&self, settlement: Settlement) -> Settling {
        let settlement = match settlement {
            // Backends add it to the time, which must not overflow.
            Settlement::Nack(delay) => Settlement::Nack(delay.min(LONGEST)),
            other => other,
        };
        match &self.holder {
            Holder::Settler(settler) => settler.settle(self.token, settlement),
            Holder::Subscription(shared) => shared.settle(self.token, settlement),
        }
    }

    pub(super) async fn settle(&mut self, settlement: Settlement) -> Result<(), Error> {
        self.start(settlement).wait().await.map_err(|error| error.with_operation("settle"))?;
        self.settled = true;
        if let Holder::Subscription(shared) = &self.holder
            && !matches!(settlement, Settlement::Nack(_))
        {
            shared.counters.settled();
        }
        Ok(())
    }

    pub(super) async fn extend(&self) -> Result<(), Error> {
        let extended = self.start(Settlement::Extend).wait().await;
        extended.map_err(|error| error.with_operation("extend"))?;
        if let Holder::Subscription(shared) = &self.holder {
            shared.expires(now() + shared.options.ack_wait);
        }
        Ok(())
    }

    pub(super) fn is_last_attempt(&self) -> bool {
        match &self.holder {
            Holder::Settler(_) => false,
            Holder::Subscription(shared) => {
                shared.options.max_attempts.is_some_and(|most| self.info.attempt >= most)
            }
        }
    }

    /// Gets rid of a message that will not be handled: to the dead-letter topic if there is
    /// one. Only when that has acknowledged it is the original settled.
    pub(super) async fn discard(&mut self, envelope: &Envelope, reason: &str) -> Result<(), Error> {
        let Holder::Subscription(shared) = &self.holder else {
            return self.settle(Settlement::Discard).await;
        };
        let Some(topic) = &shared.options.dead_letter else {
            tracing::error!(
                topic = %self.info.topic(),
                position = %self.info.position,
                id = %envelope.id(),
                attempt = self.info.attempt,
                reason,
                "a message is discarded; set a dead-letter topic to keep such messages",
            );
            return self.settle(Settlement::Discard).await;
        };
        let group = shared.options.group.as_deref();
        let letter = dead_letter::letter(envelope, &self.info, group, reason);
        shared.dead_letters.publish(topic, letter).await?;
        shared.counters.dead_lettered();
        self.settle(Settlement::Ack).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        match &self.holder {
            Holder::Settler(settler) => {
                if !self.settled {
                    settler.abandon(self.token);
                }
            }
            Holder::Subscription(shared) => {
                if !self.settled {
                    shared.abandon(self.token);
                }
                shared.release();
            }
        }
    }
}
