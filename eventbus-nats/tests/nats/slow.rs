//! A link that takes its time.

use std::{collections::HashSet, time::Duration};

use eventbus_core::{EventBusExt, SubscribeOptions};
use test_brokers::{Nats, Toxiproxy};

use crate::steps::{TOPIC, connect, event, next, number};

const EVENTS: u64 = 20;

#[tokio::test]
async fn a_dropped_subscription_releases_what_is_still_on_its_way() {
    let (server, toxiproxy) = (Nats::start().await.unwrap(), Toxiproxy::start().await.unwrap());
    let proxy = toxiproxy.proxy(server.port()).await.unwrap();
    let near = connect(server.url()).await.unwrap();
    let far = connect(&format!("nats://127.0.0.1:{}", proxy.port())).await.unwrap();
    // Whoever waits for that has failed.
    let options = SubscribeOptions::group("all").ack_wait(Duration::from_secs(600));
    let mut leaving = far.subscribe(&TOPIC.filter(), options.clone()).await.unwrap();
    near.publish_sync(&TOPIC, event("k", 0)).await.unwrap();
    let held = next(&mut leaving).await;
    proxy.latency(Duration::from_secs(1), Duration::ZERO).await.unwrap();
    for n in 1..EVENTS {
        near.publish_sync(&TOPIC, event("k", n)).await.unwrap();
    }
    drop(leaving);
    let mut staying = near.subscribe(&TOPIC.filter(), options).await.unwrap();
    let mut rest = HashSet::new();
    while rest.len() < EVENTS as usize - 1 {
        let delivery = next(&mut staying).await;
        rest.insert(number(&delivery));
        delivery.ack().await.unwrap();
    }
    assert!(!rest.contains(&number(&held)), "it is still held");
    held.ack().await.unwrap();
    far.close().await.unwrap();
    near.close().await.unwrap();
}
