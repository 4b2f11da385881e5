//! What several tests do.

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    BusConfig, Delivery, Envelope, Error, EventBus, EventBusExt, Registry, Subscription, Topic,
};
use eventbus_nats::async_nats::{self, Client};
use serde_json::Value;
use test_brokers::Nats;

pub(crate) const TOPIC: Topic = Topic::from_static("orders.created");
/// More than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_nats::register(&mut registry);
    registry
}

pub(crate) async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    registry().builder(url).connect().await
}

pub(crate) async fn connect_with(url: &str, config: BusConfig) -> Arc<dyn EventBus> {
    registry().builder(url).config(config).connect().await.unwrap()
}

pub(crate) async fn raw(server: &Nats) -> Client {
    async_nats::connect(server.url()).await.unwrap()
}

/// Calls the JetStream API.
pub(crate) async fn api(client: &Client, call: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(format!("$JS.API.{call}"), body.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{call}: {answer}");
    answer
}

pub(crate) fn event(key: &str, n: u64) -> Envelope {
    Envelope::new("test", n.to_string()).key(key)
}

pub(crate) fn number(delivery: &Delivery) -> u64 {
    std::str::from_utf8(delivery.envelope().payload()).unwrap().parse().unwrap()
}

pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(PATIENCE, subscription.try_next())
        .await
        .expect("nothing came in time")
        .unwrap()
        .expect("the subscription has ended")
}

pub(crate) async fn publish(bus: &Arc<dyn EventBus>, n: u64) -> Result<(), Error> {
    tokio::time::timeout(PATIENCE, bus.publish_sync(&TOPIC, event("k", n)))
        .await
        .expect("no verdict in time")
        .map(|_| ())
        .map_err(Into::into)
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
