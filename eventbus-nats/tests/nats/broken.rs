//! No server, and servers that go away for good.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use eventbus_core::{BusConfig, ErrorKind, EventBusExt, HealthStatus, SubscribeOptions};
use futures_util::StreamExt;
use test_brokers::Nats;
use tokio::time::timeout;

use crate::steps::{
    PATIENCE, TOPIC, connect, connect_with, event, next, number, publish, raw, until,
};

#[tokio::test]
async fn without_a_server_connecting_fails() {
    let error = connect("nats://127.0.0.1:1,127.0.0.1:2?connect_timeout=2s").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_temporary());
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn the_second_server_will_do() {
    let server = Nats::start().await.unwrap();
    for _ in 0..4 {
        let url = format!("nats://127.0.0.1:1,127.0.0.1:{}", server.port());
        let bus = connect(&url).await.unwrap();
        publish(&bus, 1).await.unwrap();
        bus.close().await.unwrap();
    }
}

#[tokio::test]
async fn while_there_is_no_server_what_was_not_sent_comes_back_as_unavailable() {
    let server = Nats::start().await.unwrap();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(2);
    let bus = connect_with(server.url(), config).await;
    publish(&bus, 0).await.unwrap();
    server.kill();
    let down = async || bus.health().await.status == HealthStatus::Unavailable;
    until("the loss is seen", down).await;
    let health = bus.health().await;
    assert!(!health.problems.is_empty());
    let error = publish(&bus, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_temporary() && !error.is_ambiguous(), "{error}");
    let started = Instant::now();
    bus.close().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "closing took {:?}", started.elapsed());
}

#[tokio::test]
async fn closing_without_a_server_leaves_no_task() {
    let server = Nats::start().await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let bus = connect(server.url()).await.unwrap();
    let subscription = bus.subscribe(&TOPIC.filter(), SubscribeOptions::group("g")).await.unwrap();
    publish(&bus, 0).await.unwrap();
    assert!(tasks() > before);
    server.kill();
    let down = async || bus.health().await.status == HealthStatus::Unavailable;
    until("the loss is seen", down).await;
    bus.close().await.unwrap();
    drop((bus, subscription));
    until("no task is left", async || tasks() <= before).await;
}

#[tokio::test]
async fn a_slow_subscriber_loses_nothing() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    let options = SubscribeOptions::group("g").max_in_flight(16).ack_wait(Duration::from_secs(1));
    let mut subscription = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    let envelopes = (0..200).map(|n| event("k", n)).collect();
    bus.publish_batch(&TOPIC, envelopes).await.unwrap();
    let mut words = raw(&server).await.subscribe("$JS.ACK.>").await.unwrap();
    // Nothing is taken for longer than two `ack_wait`s; what waits here does not expire,
    // because the server is told three times in each that it is still here.
    let first = next(&mut subscription).await;
    let mut told = HashMap::new();
    while told.values().all(|times| *times < 7) {
        let word = timeout(PATIENCE, words.next()).await.expect("the server is not told").unwrap();
        assert_eq!(word.payload, "+WPI");
        *told.entry(word.subject.to_string()).or_insert(0) += 1;
    }
    let mut seen = vec![number(&first)];
    drop(first);
    while seen.len() < 200 {
        let delivery = next(&mut subscription).await;
        if number(&delivery) > 0 {
            assert_eq!(delivery.attempt(), 1, "{} expired in the buffer", number(&delivery));
            seen.push(number(&delivery));
        }
        delivery.ack().await.unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    bus.close().await.unwrap();
}
