//! Connections that are lost with deliveries on their way.

use std::{sync::Arc, time::Duration};

use eventbus_core::{EventBus, Ordering, SubscribeOptions, Subscription};
use serde_json::Value;
use test_brokers::{Nats, Proxy, Toxiproxy};

use crate::steps::{TOPIC, api, connect, next, number, publish, raw, until};

/// Whoever waits for that has failed.
const NEVER: Duration = Duration::from_secs(600);

/// A server, a bus beside it, and one that is far away.
struct Scene {
    server: Nats,
    proxy: Proxy,
    near: Arc<dyn EventBus>,
    far: Arc<dyn EventBus>,
    _toxiproxy: Toxiproxy,
}

impl Scene {
    async fn start() -> Self {
        let (server, toxiproxy) = (Nats::start().await.unwrap(), Toxiproxy::start().await.unwrap());
        let proxy = toxiproxy.proxy(server.port()).await.unwrap();
        let near = connect(server.url()).await.unwrap();
        let far = connect(&format!("nats://127.0.0.1:{}", proxy.port())).await.unwrap();
        Self { server, proxy, near, far, _toxiproxy: toxiproxy }
    }

    /// The first few arrive, and the next few are on their way when the connection is lost.
    async fn lose(&self, options: SubscribeOptions, kill: bool) -> Subscription {
        let mut subscription = self.far.subscribe(&TOPIC.filter(), options).await.unwrap();
        for n in 0..5 {
            publish(&self.near, n).await.unwrap();
        }
        for n in 0..5 {
            let delivery = next(&mut subscription).await;
            assert_eq!(number(&delivery), n);
            delivery.ack().await.unwrap();
        }
        self.proxy.timeout().await.unwrap();
        for n in 5..15 {
            publish(&self.near, n).await.unwrap();
        }
        let client = raw(&self.server).await;
        until("the server has sent them", async || delivered(&client).await >= 15).await;
        if kill {
            self.server.kill();
        }
        self.proxy.heal().await.unwrap();
        if kill {
            self.server.restart().await.unwrap();
        }
        for n in 15..30 {
            publish(&self.near, n).await.unwrap();
        }
        subscription
    }

    async fn close(self) {
        self.far.close().await.unwrap();
        self.near.close().await.unwrap();
    }
}

/// How far the only consumer has got.
async fn delivered(client: &eventbus_nats::async_nats::Client) -> u64 {
    let consumers = api(client, "CONSUMER.LIST.EVENTBUS", &Value::Null).await;
    consumers["consumers"][0]["delivered"]["stream_seq"].as_u64().unwrap_or_default()
}

/// Takes the first copies of so many.
async fn first_copies(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let delivery = next(subscription).await;
        let n = number(&delivery);
        if n >= 5 && !taken.contains(&n) {
            taken.push(n);
        }
        delivery.ack().await.unwrap();
    }
    taken
}

fn per_key() -> SubscribeOptions {
    SubscribeOptions::group("all").ordering(Ordering::PerKey).ack_wait(NEVER)
}

#[tokio::test]
async fn a_key_keeps_its_order_when_its_deliveries_are_lost_on_their_way() {
    let scene = Scene::start().await;
    let mut subscription = scene.lose(per_key(), false).await;
    // Behind those come only newer ones.
    assert_eq!(first_copies(&mut subscription, 15).await, (5..20).collect::<Vec<_>>());
    scene.close().await;
}

#[tokio::test]
async fn a_key_keeps_its_order_when_the_server_is_killed() {
    let scene = Scene::start().await;
    let mut subscription = scene.lose(per_key(), true).await;
    assert_eq!(first_copies(&mut subscription, 15).await, (5..20).collect::<Vec<_>>());
    scene.close().await;
}

/// Nobody else reads from its consumer, so what comes again and was settled is acknowledged once
/// more; but what never arrived was not settled.
#[tokio::test]
async fn without_a_group_nothing_is_lost_on_its_way() {
    let scene = Scene::start().await;
    let options = SubscribeOptions::new().ack_wait(Duration::from_secs(2));
    let mut subscription = scene.lose(options, false).await;
    let mut all = first_copies(&mut subscription, 25).await;
    all.sort_unstable();
    assert_eq!(all, (5..30).collect::<Vec<_>>());
    scene.close().await;
}

/// An acknowledgement covers what is older, also what never arrived.
#[tokio::test]
async fn a_cumulative_acknowledgement_covers_nothing_that_was_lost_on_its_way() {
    let scene = Scene::start().await;
    let options = SubscribeOptions::group("all").cumulative().ack_wait(NEVER);
    let mut subscription = scene.lose(options, false).await;
    assert_eq!(first_copies(&mut subscription, 25).await, (5..30).collect::<Vec<_>>());
    scene.close().await;
}

#[tokio::test]
async fn a_cumulative_acknowledgement_covers_nothing_of_a_reader_that_died() {
    let scene = Scene::start().await;
    let options = SubscribeOptions::group("all").cumulative().ack_wait(NEVER);
    let mut dying = scene.far.subscribe(&TOPIC.filter(), options.clone()).await.unwrap();
    let mut held = Vec::new();
    for n in 0..15 {
        publish(&scene.near, n).await.unwrap();
        held.push(next(&mut dying).await);
    }
    scene.proxy.cut().await.unwrap();
    let mut subscription = scene.near.subscribe(&TOPIC.filter(), options).await.unwrap();
    for n in 15..20 {
        publish(&scene.near, n).await.unwrap();
    }
    assert_eq!(first_copies(&mut subscription, 15).await, (5..20).collect::<Vec<_>>());
    drop((held, dying));
    scene.proxy.heal().await.unwrap();
    scene.close().await;
}
