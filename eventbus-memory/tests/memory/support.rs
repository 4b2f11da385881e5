//! What the tests of this crate share.

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    Delivery, Envelope, Error, EventBus, EventBusExt, Registry, SubscribeOptions, Subscription,
    Topic,
};

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn try_connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    registry.builder(url).connect().await
}

pub(crate) async fn connect(url: &str) -> Arc<dyn EventBus> {
    try_connect(url).await.expect("a memory bus")
}

pub(crate) async fn subscribe(
    bus: &Arc<dyn EventBus>,
    filter: &str,
    options: SubscribeOptions,
) -> Subscription {
    let filter = filter.parse().expect("a filter");
    bus.subscribe(&filter, options).await.expect("a subscription")
}

pub(crate) fn event(number: usize) -> Envelope {
    Envelope::new("test.event", number.to_string())
}

pub(crate) async fn publish(bus: &Arc<dyn EventBus>, topic: &Topic, number: usize) {
    bus.publish_sync(topic, event(number)).await.expect("stored");
}

pub(crate) async fn publish_keyed(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    key: &str,
    number: usize,
) {
    bus.publish_sync(topic, event(number).key(key)).await.expect("stored");
}

pub(crate) fn number(delivery: &Delivery) -> usize {
    let text = str::from_utf8(delivery.envelope().payload()).expect("text");
    text.parse().expect("a number")
}

pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::select! {
        biased;
        // First, so that a message which is there but woke nobody is not found at the last moment.
        () = tokio::time::sleep(DEADLINE) => panic!("no delivery in time"),
        item = subscription.next() => item.expect("the stream goes on").expect("a delivery"),
    }
}

/// Receives so many messages and acknowledges each.
pub(crate) async fn take(subscription: &mut Subscription, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let delivery = next(subscription).await;
        numbers.push(number(&delivery));
        delivery.ack().await.expect("acknowledged");
    }
    numbers
}

/// What is there at this moment without waiting, not acknowledged.
pub(crate) async fn now(subscription: &mut Subscription) -> Option<Delivery> {
    tokio::time::timeout(Duration::ZERO, subscription.next())
        .await
        .ok()
        .map(|item| item.expect("the stream goes on").expect("a delivery"))
}
