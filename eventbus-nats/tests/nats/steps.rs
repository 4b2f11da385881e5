//! What several tests do.

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    BusConfig, Delivery, Envelope, Error, EventBus, EventBusExt, Registry, Subscription, Topic,
};
use eventbus_nats::async_nats::{self, Client};
use serde_json::Value;
use test_brokers::{Nats, NatsCluster};

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

/// A cluster, and a bus that is connected to another server than the one that leads the stream,
/// in which there is number 0.
pub(crate) struct Led {
    cluster: NatsCluster,
    leader: usize,
    pub(crate) bus: Arc<dyn EventBus>,
}

impl Led {
    pub(crate) async fn start(parameters: &str, config: BusConfig) -> Self {
        let cluster = Nats::builder().start_cluster(3).await.unwrap();
        let first = connect(&format!("{}?replicas=3", cluster.url())).await.unwrap();
        publish(&first, 0).await.unwrap();
        first.close().await.unwrap();
        let leader = cluster.leader_of("EVENTBUS").await.unwrap();
        let url = cluster.node((leader + 1) % 3).url();
        let bus = connect_with(&format!("{url}?replicas=3&{parameters}"), config).await;
        Self { cluster, leader, bus }
    }

    /// Of the server that the bus is connected to.
    pub(crate) fn url(&self) -> &str {
        self.cluster.node((self.leader + 1) % 3).url()
    }

    pub(crate) fn kill_leader(&self) {
        self.cluster.node(self.leader).kill();
    }
}
