//! The two groups that get the orders, and the dead letters of one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use eventbus::{Delivery, Error, Subscription, dead_letter};
use tokio::{sync::watch, time::timeout};

use super::shop::{MAX_ATTEMPTS, Order};
use crate::exit::Failure;

/// Billing fails once for this order,
pub(super) const UNLUCKY: u64 = 7;
/// and always for this one.
pub(super) const HOPELESS: u64 = 13;
/// How long after a failure it is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(20);
/// How long to wait for what does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A group with a handler.
pub(super) trait Group: Send + 'static {
    const NAME: &'static str;

    /// Handles an order; `false` when that failed.
    fn handle(&self, order: &Order, attempt: u32) -> bool;
}

pub(super) struct Billing;

impl Group for Billing {
    const NAME: &'static str = "billing";

    fn handle(&self, order: &Order, attempt: u32) -> bool {
        match order.number {
            UNLUCKY => attempt > 1,
            HOPELESS => false,
            _ => true,
        }
    }
}

pub(super) struct Shipping;

impl Group for Shipping {
    const NAME: &'static str = "shipping";

    fn handle(&self, _: &Order, _: u32) -> bool {
        true
    }
}

/// What a group did.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) name: &'static str,
    /// The numbers of the orders that it got, each once.
    pub(super) orders: BTreeSet<u64>,
    pub(super) acknowledged: u64,
    pub(super) dead_lettered: u64,
    pub(super) retried: u64,
    /// Deliveries of a customer's order after a later one of the same customer.
    pub(super) out_of_order: u64,
}

/// A member of a group.
pub(super) struct Consumer<G> {
    group: G,
    subscription: Subscription,
    served: Served,
    /// The highest order number of each customer.
    highest: BTreeMap<u64, u64>,
}

impl<G: Group> Consumer<G> {
    pub(super) fn new(group: G, subscription: Subscription) -> Self {
        Self {
            group,
            subscription,
            served: Served { name: G::NAME, ..Served::default() },
            highest: BTreeMap::new(),
        }
    }

    /// Handles orders until as many as `expected` says, once it says so, are dealt with.
    pub(super) async fn serve(
        mut self,
        mut expected: watch::Receiver<Option<u64>>,
    ) -> Result<Served, Failure> {
        loop {
            let goal = *expected.borrow_and_update();
            let done = self.served.acknowledged + self.served.dead_lettered;
            if goal.is_some_and(|goal| done >= goal) {
                return Ok(self.served);
            }
            tokio::select! {
                item = timeout(PATIENCE, self.subscription.try_next()) => match item {
                    Ok(item) => match item.map_err(Error::from)? {
                        Some(delivery) => self.handle(delivery).await?,
                        None => return Ok(self.served),
                    },
                    // The verdicts show what is missing.
                    Err(_) => return Ok(self.served),
                },
                Ok(()) = expected.changed(), if goal.is_none() => {}
            }
        }
    }

    async fn handle(&mut self, delivery: Delivery) -> Result<(), Error> {
        let order: Order = delivery.json()?;
        let attempt = delivery.attempt();
        let highest = self.highest.entry(order.customer).or_default();
        self.served.out_of_order += u64::from(order.number < *highest);
        *highest = order.number.max(*highest);
        self.served.orders.insert(order.number);
        if self.group.handle(&order, attempt) {
            delivery.ack().await?;
            self.served.acknowledged += 1;
            return Ok(());
        }
        // After the last attempt this moves it to the dead letters.
        delivery.nack(RETRY_AFTER).await?;
        if attempt < MAX_ATTEMPTS {
            self.served.retried += 1;
        } else {
            self.served.dead_lettered += 1;
        }
        Ok(())
    }
}

/// What a dead letter says.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) order: u64,
    pub(super) reason: String,
    pub(super) attempts: String,
    pub(super) from: String,
}

/// Reads one dead letter, if one comes.
pub(super) async fn read_letter(letters: &mut Subscription) -> Result<Option<Letter>, Failure> {
    let Ok(item) = timeout(PATIENCE, letters.try_next()).await else {
        return Ok(None);
    };
    let Some(delivery) = item.map_err(Error::from)? else {
        return Ok(None);
    };
    let order: Order = delivery.json()?;
    let header = |name: &str| delivery.envelope().header(name).unwrap_or_default().to_owned();
    let letter = Letter {
        order: order.number,
        reason: header(dead_letter::REASON),
        attempts: header(dead_letter::ATTEMPTS),
        from: header(dead_letter::POSITION),
    };
    delivery.ack().await.map_err(Error::from)?;
    Ok(Some(letter))
}
