//! What closing a bus does to what is under way.

use std::time::Duration;

use eventbus_core::{ErrorKind, Ordering, SubscribeOptions, Topic};

use crate::support::{connect, next, now, number, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("closing.one");
const DEAD: Topic = Topic::from_static("dead.closing");

fn options() -> SubscribeOptions {
    let options = SubscribeOptions::group("g").ordering(Ordering::PerKey);
    options.max_attempts(3).dead_letter(DEAD)
}

#[tokio::test]
async fn what_a_closed_bus_held_goes_to_the_others_at_once() {
    let publisher = connect("memory://closing-at-once").await;
    let one = connect("memory://closing-at-once?close_timeout=1ms").await;
    let two = connect("memory://closing-at-once").await;
    let mut first = subscribe(&one, "closing.one", options()).await;
    let mut second = subscribe(&two, "closing.one", options()).await;
    for number in 0..3 {
        publish(&publisher, &TOPIC, number).await;
    }
    let held = next(&mut first).await;
    drop(next(&mut first).await);
    assert_eq!(take(&mut second, 1).await, [2]);
    let waiting = tokio::spawn(async move {
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let delivery = next(&mut second).await;
            assert_eq!(delivery.attempt(), 1, "the shutdown cost no attempt");
            numbers.push(number(&delivery));
            delivery.ack().await.unwrap();
        }
        numbers
    });
    tokio::task::yield_now().await;
    one.close().await.unwrap();
    let late = held.ack().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Closed);
    assert_eq!(waiting.await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn rolling_restarts_dead_letter_nothing() {
    let keeper = connect("memory://closing-rolling").await;
    publish(&keeper, &TOPIC, 1).await;
    for _ in 0..20 {
        let bus = connect("memory://closing-rolling?close_timeout=1ms").await;
        let mut subscription = subscribe(&bus, "closing.one", options()).await;
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.attempt(), 1);
        bus.close().await.unwrap();
        assert_eq!(bus.stats().dead_lettered, 0);
        drop(delivery);
    }
    let mut subscription = subscribe(&keeper, "closing.one", options()).await;
    assert_eq!(take(&mut subscription, 1).await, [1]);
}

#[tokio::test]
async fn a_bus_dropped_without_closing_counts_as_a_crash() {
    let keeper = connect("memory://closing-drop").await;
    publish(&keeper, &TOPIC, 1).await;
    let mut attempts = Vec::new();
    for _ in 0..31 {
        let bus = connect("memory://closing-drop").await;
        let mut subscription = subscribe(&bus, "closing.one", options()).await;
        let Some(delivery) = now(&mut subscription).await else { break };
        attempts.push(delivery.attempt());
        drop(bus);
    }
    // Ten times `max_attempts`: then it must be the message that crashes the process.
    assert_eq!(attempts, (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn close_waits_for_what_is_being_handled() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "closing.one", options()).await;
    publish(&bus, &TOPIC, 1).await;
    let held = next(&mut subscription).await;
    let closing = tokio::spawn({
        let bus = bus.clone();
        async move { bus.close().await }
    });
    assert!(subscription.next().await.is_none(), "the stream ends");
    held.nack(Duration::ZERO).await.unwrap();
    closing.await.unwrap().unwrap();
}
