//! Opening subscriptions, and their way to publish dead letters.

use std::{
    sync::{Arc, PoisonError, Weak, atomic::Ordering as Atomic},
    time::Duration,
};

use super::{
    PendingReceipt,
    accept::{Request, Room},
    bus::{Inner, OPEN},
    table::Completion,
};
use crate::{
    Envelope, Error, ErrorKind, Health, HealthStatus, Ordering, PublishOptions, Start,
    SubscribeOptions, Subscription, Topic, TopicFilter, UndecodablePolicy,
    backend::Transport,
    config::LONGEST,
    subscription::{BoxFuture, DeadLetters, Shared},
};

impl<T: Transport> Inner<T> {
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        filter: &TopicFilter,
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        if self.lifecycle.load(Atomic::Acquire) != OPEN {
            return Err(self.closed_error());
        }
        self.check_subscription(filter, &options)?;
        let source = self.transport.subscribe(filter, &options).await?;
        let dead_letters = Arc::new(BusDeadLetters(Arc::downgrade(self)));
        let shared = Shared::new(
            filter.clone(),
            options,
            self.transport.backend(),
            Box::new(source),
            dead_letters,
            self.counters.clone(),
            self.ledger.config.raw.clone(),
        );
        let mut open = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock that closing takes: it either sees this subscription or is seen here.
        if self.lifecycle.load(Atomic::Acquire) != OPEN {
            return Err(self.closed_error());
        }
        open.retain(|shared| shared.strong_count() > 0);
        open.push(Arc::downgrade(&shared));
        Ok(Subscription::new(shared))
    }

    fn check_subscription(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<(), Error> {
        if let Some(name) = &options.group {
            check_group(name, options.native_group)?;
        }
        if options.max_in_flight == 0 {
            return Err(invalid("`max_in_flight` must be at least 1"));
        }
        if options.ack_wait < Duration::from_millis(1) {
            return Err(invalid("`ack_wait` must be at least 1 ms"));
        }
        if options.ack_wait > LONGEST {
            return Err(invalid("`ack_wait` must be at most 365 days"));
        }
        if options.max_attempts == Some(0) {
            return Err(invalid("`max_attempts` must be at least 1"));
        }
        self.check_dead_letter(filter, options)?;
        if options.cumulative {
            if !self.capabilities.cumulative_ack {
                return Err(self.unsupported("cumulative_ack"));
            }
            if options.ordering == Ordering::PerKey {
                return Err(invalid("`cumulative` cannot be combined with `Ordering::PerKey`"));
            }
        }
        self.check_start(filter, options)
    }

    fn check_dead_letter(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<(), Error> {
        match &options.dead_letter {
            Some(topic) if filter.matches(topic) => Err(invalid(
                "the dead-letter topic is inside the subscription's own filter, so dead letters \
                 would come back for ever; choose a topic outside of it",
            )
            .with_context("dead_letter", topic)
            .with_context("filter", filter)),
            None if options.undecodable == Some(UndecodablePolicy::DeadLetter) => Err(invalid(
                "`UndecodablePolicy::DeadLetter` needs a dead-letter topic; set `dead_letter`",
            )),
            _ => Ok(()),
        }
    }

    fn check_start(&self, filter: &TopicFilter, options: &SubscribeOptions) -> Result<(), Error> {
        match &options.start {
            Some(Start::Time(_)) if !self.capabilities.start_at_time => {
                Err(self.unsupported("start_at_time"))
            }
            Some(Start::Positions(positions)) => {
                if positions.is_empty() {
                    return Err(invalid("`Start::Positions` needs at least one position"));
                }
                let fits = |backend: &str, topic: &Topic| {
                    backend == self.transport.backend() && filter.matches(topic)
                };
                match positions.iter().find(|at| !fits(at.backend(), at.topic())) {
                    None => Ok(()),
                    Some(foreign) => Err(invalid(
                        "a start position belongs to another backend or to a topic outside the filter",
                    )
                    .with_context("position", foreign)),
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open_subscriptions(&self) -> Vec<Arc<Shared>> {
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        subscriptions.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) async fn health(&self) -> Health {
        if self.lifecycle.load(Atomic::Acquire) != OPEN {
            return Health::new(HealthStatus::Closed);
        }
        let mut health = self.transport.health().await;
        for shared in self.open_subscriptions() {
            let Some(subscription) = shared.health() else {
                continue;
            };
            if let Some(stalled) = subscription.stalled {
                health = health.with_problem(format!(
                    "the subscription to {} has been waiting at its limit of {} unsettled \
                     messages for {:.1} s; settle deliveries, or raise `max_in_flight`",
                    subscription.filter,
                    shared.options.max_in_flight,
                    stalled.as_secs_f64(),
                ));
            }
            if let Some(problem) = &subscription.problem {
                health = health.with_problem(format!("{}: {problem}", subscription.filter));
            }
            health.subscriptions.push(subscription);
        }
        health
    }
}

fn check_group(name: &str, native: bool) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || (!native && (name.len() > 100 || !name.chars().all(valid))) {
        return Err(invalid("a group name has 1 to 100 characters of A-Z, a-z, 0-9, `_`, `-`")
            .with_context("group", format!("{name:?}")));
    }
    Ok(())
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// Publishes dead letters for as long as the bus exists.
struct BusDeadLetters<T: Transport>(Weak<Inner<T>>);

impl<T: Transport> DeadLetters for BusDeadLetters<T> {
    fn publish(&self, topic: &Topic, envelope: Envelope) -> BoxFuture<Result<(), Error>> {
        let inner = self.0.upgrade();
        let topic = topic.clone();
        Box::pin(async move {
            let Some(inner) = inner else {
                return Err(Error::new(ErrorKind::Closed, "the bus was dropped"));
            };
            let (waiter, receipt) = PendingReceipt::waiting(inner.ledger.clone());
            let request = Request {
                topic: &topic,
                envelope: &envelope,
                options: &PublishOptions::new(),
                completion: Completion::Waiter(waiter),
                awaited: true,
            };
            inner.accept(request, Room::Beyond).await?;
            // The bus may be dropped while this waits; then the verdict is its failure.
            drop(inner);
            receipt.await?;
            Ok(())
        })
    }
}
