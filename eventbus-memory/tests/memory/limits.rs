//! How much a subscription may hold.

use std::time::Duration;

use eventbus_core::{SubscribeOptions, Topic};
use tokio::time::advance;

use crate::support::{connect, next, now, number, publish, subscribe};

const TOPIC: Topic = Topic::from_static("limits.one");
const ACK_WAIT: Duration = Duration::from_secs(30);

fn options() -> SubscribeOptions {
    SubscribeOptions::group("g").max_in_flight(2).ack_wait(ACK_WAIT)
}

#[tokio::test(start_paused = true)]
async fn at_its_limit_a_subscription_pauses_and_says_so() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "limits.one", options()).await;
    for number in 0..4 {
        publish(&bus, &TOPIC, number).await;
    }
    let first = next(&mut subscription).await;
    let _second = next(&mut subscription).await;
    assert!(bus.health().await.is_healthy(), "full, and it does not want more");
    assert!(now(&mut subscription).await.is_none());
    advance(Duration::from_secs(3)).await;
    let health = bus.health().await;
    assert!(!health.is_healthy());
    assert_eq!(health.subscriptions[0].in_flight, 2);
    assert_eq!(health.subscriptions[0].stalled.unwrap().as_secs(), 3);
    first.ack().await.unwrap();
    assert!(bus.health().await.is_healthy());
    assert_eq!(number(&next(&mut subscription).await), 2);
}

#[tokio::test(start_paused = true)]
async fn settling_wakes_a_subscription_that_waits_at_its_limit() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "limits.one", options().max_in_flight(1)).await;
    publish(&bus, &TOPIC, 0).await;
    publish(&bus, &TOPIC, 1).await;
    let held = next(&mut subscription).await;
    let waiting = tokio::spawn(async move { number(&next(&mut subscription).await) });
    tokio::task::yield_now().await;
    held.ack().await.unwrap();
    let received = tokio::time::timeout(ACK_WAIT / 2, waiting).await;
    assert_eq!(received.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn abandoned_deliveries_count_until_their_time_is_over() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "limits.one", options()).await;
    for number in 0..3 {
        publish(&bus, &TOPIC, number).await;
    }
    drop(next(&mut subscription).await);
    drop(next(&mut subscription).await);
    advance(ACK_WAIT - Duration::from_secs(1)).await;
    assert!(now(&mut subscription).await.is_none(), "it has two in flight still");
    let health = bus.health().await;
    assert_eq!(health.subscriptions[0].in_flight, 2);
    let again = next(&mut subscription).await;
    assert_eq!((number(&again), again.attempt()), (0, 2));
}

#[tokio::test]
async fn the_limit_holds_for_each_member_alone() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "limits.one", options()).await;
    let mut two = subscribe(&bus, "limits.one", options().max_in_flight(3)).await;
    for number in 0..6 {
        publish(&bus, &TOPIC, number).await;
    }
    let mut held = Vec::new();
    while let Some(delivery) = now(&mut one).await {
        held.push(delivery);
    }
    assert_eq!(held.len(), 2);
    while let Some(delivery) = now(&mut two).await {
        held.push(delivery);
    }
    assert_eq!(held.len(), 5);
}
