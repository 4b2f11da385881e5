//! Reading from subscriptions. Deliveries come at least once, so counting is by id.

use std::{collections::HashSet, future::Future, panic::Location, sync::Arc, time::Duration};

use eventbus_core::{
    Delivery, Envelope, ErrorKind, EventBus, ReceiveError, Start, SubscribeOptions, Subscription,
    TopicFilter,
};
use futures_util::future::{Either, select};

use super::number;
use crate::{Failure, PATIENCE, Result};

/// The next item, which must come in time.
#[track_caller]
pub(crate) fn next_item(
    subscription: &mut Subscription,
) -> impl Future<Output = Result<Result<Delivery, ReceiveError>>> + Send {
    let at = Location::caller();
    async move {
        let item = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match item {
            Ok(Some(item)) => Ok(item),
            Ok(None) => Err(Failure::at(at, "the subscription ended")),
            Err(_) => Err(Failure::at(at, format!("no delivery within {PATIENCE:?}"))),
        }
    }
}

/// The next delivery, which must come in time.
#[track_caller]
pub(crate) fn next(
    subscription: &mut Subscription,
) -> impl Future<Output = Result<Delivery>> + Send {
    let at = Location::caller();
    let item = next_item(subscription);
    async move {
        let item = item.await.map_err(|failure| failure.moved_to(at))?;
        item.map_err(|error| Failure::at(at, format!("instead of a delivery: {error}")))
    }
}

/// Acknowledges deliveries for as long as `go_on` says so, by the last envelope and how many
/// there are; gives the envelopes, each once, in the order of their first delivery.
async fn take_while(
    subscription: &mut Subscription,
    at: &'static Location<'static>,
    mut go_on: impl FnMut(&Envelope, usize) -> bool + Send,
) -> Result<Vec<Envelope>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut seen = HashSet::new();
    let mut taken: Vec<Envelope> = Vec::new();
    loop {
        let failed = |why: String| {
            let last: Vec<_> = taken.iter().rev().take(5).map(number).collect();
            Failure::at(at, format!("{why}; {} had come, the last: {last:?}", taken.len()))
        };
        let delivery = match tokio::time::timeout_at(deadline, subscription.next()).await {
            Ok(Some(Ok(delivery))) => delivery,
            Ok(Some(Err(error))) => return Err(failed(error.to_string())),
            Ok(None) => return Err(failed("the stream ended".to_owned())),
            Err(_) => return Err(failed(format!("not all within {PATIENCE:?}"))),
        };
        let envelope = delivery.envelope().clone();
        match delivery.ack().await {
            // It comes again, and is told by its id.
            Err(error) if error.kind() == ErrorKind::Expired => {}
            other => other.map_err(|error| failed(error.to_string()))?,
        }
        if seen.insert(envelope.id()) {
            taken.push(envelope.clone());
        }
        if !go_on(&envelope, taken.len()) {
            return Ok(taken);
        }
    }
}

/// Takes and acknowledges `count` different envelopes.
#[track_caller]
pub(crate) fn take(
    subscription: &mut Subscription,
    count: usize,
) -> impl Future<Output = Result<Vec<Envelope>>> + Send {
    let at = Location::caller();
    take_while(subscription, at, move |_, taken| taken < count)
}

/// Takes and acknowledges `count` different envelopes, and gives their numbers.
#[track_caller]
pub(crate) fn take_numbers(
    subscription: &mut Subscription,
    count: usize,
) -> impl Future<Output = Result<Vec<u64>>> + Send {
    let taken = take(subscription, count);
    async move { Ok(super::numbers(&taken.await?)) }
}

/// Takes and acknowledges envelopes up to the one with the number `last`.
#[track_caller]
pub(crate) fn take_until(
    subscription: &mut Subscription,
    last: u64,
) -> impl Future<Output = Result<Vec<u64>>> + Send {
    let at = Location::caller();
    let taken = take_while(subscription, at, move |envelope, _| number(envelope) != last);
    async move { Ok(super::numbers(&taken.await?)) }
}

/// Reads `count` different envelopes from the start, on a subscription of its own.
pub(crate) async fn read_all(
    bus: &Arc<dyn EventBus>,
    filter: impl Into<TopicFilter>,
    count: usize,
) -> Result<Vec<Envelope>> {
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&filter.into(), options).await?;
    take(&mut subscription, count).await
}

/// Nothing comes during `duration`.
#[track_caller]
pub(crate) fn nothing_for(
    subscription: &mut Subscription,
    duration: Duration,
) -> impl Future<Output = Result> + Send {
    let at = Location::caller();
    async move {
        match tokio::time::timeout(duration, subscription.next()).await {
            Err(_) => Ok(()),
            Ok(item) => Err(Failure::at(at, format!("unexpected: {item:?}"))),
        }
    }
}

/// Reads to the end of a stopped subscription; gives what still came.
pub(crate) async fn to_end(subscription: &mut Subscription) -> Result<Vec<Delivery>> {
    let mut rest = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, subscription.next()).await {
            Ok(None) => return Ok(rest),
            Ok(Some(item)) => rest.push(item?),
            Err(_) => return Err(Failure::new("the stopped subscription did not end")),
        }
    }
}

/// Waits for `future` while `subscription` is polled, which does work of its own, and yields
/// nothing.
#[track_caller]
pub(crate) fn while_polling<T: Send>(
    subscription: &mut Subscription,
    future: impl Future<Output = Result<T>> + Send,
) -> impl Future<Output = Result<T>> + Send {
    let at = Location::caller();
    async move {
        let (future, next) = (std::pin::pin!(future), std::pin::pin!(subscription.next()));
        match select(future, next).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((item, _)) => Err(Failure::at(at, format!("unexpected: {item:?}"))),
        }
    }
}
