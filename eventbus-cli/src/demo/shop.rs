//! The shop: its orders, its topics, and the three ways to publish.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventbus::{
    Builder, Envelope, Error, EventBus, EventBusExt, Ordering, Position, SubscribeOptions,
    Subscription, Topic, TopicFilter,
};
use serde::{Deserialize, Serialize};

use super::groups::{Consumer, Group};
use crate::{
    connect::{Target, run_suffix},
    exit::Failure,
    tasks::alive,
};

/// How many orders are published asynchronously.
const ORDERS: u64 = 1000;
/// How many customers they are from: the key is the customer.
pub(super) const CUSTOMERS: u64 = 20;
/// How many orders the batch has, and which of them is too large.
const BATCH: u64 = 5;
const TOO_LARGE: u64 = 2;
pub(super) const MAX_ENVELOPE_BYTES: usize = 64 << 10;

/// How often a group tries an order before it moves to the dead letters.
pub(super) const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) customer: u64,
    pub(super) cents: u64,
}

impl Order {
    fn new(number: u64) -> Self {
        Self { number, customer: number % CUSTOMERS, cents: number * 37 % 10_000 }
    }

    fn envelope(&self) -> Result<Envelope, Error> {
        let envelope = Envelope::json("order.created", self)?;
        Ok(envelope.key(format!("customer-{}", self.customer)).with_source("eventbus-demo"))
    }
}

/// Publishing asynchronously.
pub(super) struct PublishedAsync {
    pub(super) accepted: u64,
    pub(super) accept_time: Duration,
    pub(super) total_time: Duration,
    /// The most tasks that there were.
    pub(super) tasks: usize,
}

/// Publishing a batch.
pub(super) struct PublishedBatch {
    pub(super) size: u64,
    pub(super) stored: u64,
    /// Index and error of what was not stored, and whether its envelope came back.
    pub(super) failed: Vec<(usize, Error, bool)>,
}

impl PublishedBatch {
    /// Whether it was the one that is too large, and came back.
    pub(super) fn is_as_promised(&self) -> bool {
        let [(index, error, came_back)] = &self.failed[..] else {
            return false;
        };
        *index as u64 == TOO_LARGE
            && error.kind() == eventbus::ErrorKind::TooLarge
            && *came_back
            && self.stored == self.size - 1
    }
}

/// Publishing one order and waiting.
pub(super) struct PublishedSync {
    pub(super) latency: Duration,
    pub(super) position: Option<Position>,
}

/// A bus with the topics of the shop.
pub(super) struct Shop {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) orders: Topic,
    pub(super) dead: Topic,
    filter: TopicFilter,
    suffix: String,
}

impl Shop {
    pub(super) async fn open(builder: Builder, target: &Target) -> Result<Self, Failure> {
        // What others did on a broker, or an earlier run, is none of this run's business.
        let suffix = match target.is_memory() {
            true => String::new(),
            false => format!("-{}", run_suffix()),
        };
        let shop = Self {
            orders: format!("orders{suffix}.created").parse()?,
            dead: format!("dead{suffix}.billing").parse()?,
            filter: format!("orders{suffix}.>").parse()?,
            bus: builder.connect().await?,
            suffix,
        };
        shop.bus.ensure_topic(&shop.orders).await?;
        shop.bus.ensure_topic(&shop.dead).await?;
        Ok(shop)
    }

    /// A member of the group that `group` describes.
    pub(super) async fn group<G: Group>(&self, group: G) -> Result<Consumer<G>, Failure> {
        let name = format!("{}{}", G::NAME, self.suffix);
        let options = SubscribeOptions::group(name)
            .ordering(Ordering::PerKey)
            .max_attempts(MAX_ATTEMPTS)
            .dead_letter(self.dead.clone());
        let subscription = self.bus.subscribe(&self.filter, options).await?;
        Ok(Consumer::new(group, subscription))
    }

    pub(super) async fn dead_letters(&self) -> Result<Subscription, Failure> {
        let options = SubscribeOptions::new();
        Ok(self.bus.subscribe(&self.dead.filter(), options).await?)
    }

    pub(super) async fn publish_async(&self) -> Result<PublishedAsync, Failure> {
        let started = Instant::now();
        let mut tasks = 0;
        for number in 1..=ORDERS {
            tasks = alive().max(tasks);
            let envelope = Order::new(number).envelope()?;
            self.bus.publish(&self.orders, envelope).await.map_err(Error::from)?;
        }
        let accept_time = started.elapsed();
        self.bus.flush().await?;
        Ok(PublishedAsync { accepted: ORDERS, accept_time, total_time: started.elapsed(), tasks })
    }

    pub(super) async fn publish_batch(&self) -> PublishedBatch {
        let mut envelopes = Vec::new();
        let mut ids = Vec::new();
        for index in 0..BATCH {
            let Ok(envelope) = Order::new(ORDERS + 1 + index).envelope() else {
                continue;
            };
            let envelope = match index {
                TOO_LARGE => envelope.with_payload(vec![b' '; MAX_ENVELOPE_BYTES]),
                _ => envelope,
            };
            ids.push(envelope.id());
            envelopes.push(envelope);
        }
        let (stored, failed) = match self.bus.publish_batch(&self.orders, envelopes).await {
            Ok(receipts) => (receipts.len(), Vec::new()),
            Err(error) => {
                let stored = error.receipts().len();
                let failures = error.into_failures().into_iter().map(|failure| {
                    let index = failure.index;
                    let (error, envelope) = failure.error.into_parts();
                    (index, error, ids.get(index) == Some(&envelope.id()))
                });
                (stored, failures.collect())
            }
        };
        PublishedBatch { size: BATCH, stored: stored as u64, failed }
    }

    pub(super) async fn publish_sync(&self) -> Result<PublishedSync, Failure> {
        let envelope = Order::new(ORDERS + BATCH + 1).envelope()?;
        let started = Instant::now();
        let receipt = self.bus.publish_sync(&self.orders, envelope).await;
        let latency = started.elapsed();
        Ok(PublishedSync { latency, position: receipt.map_err(Error::from)?.position().cloned() })
    }
}
