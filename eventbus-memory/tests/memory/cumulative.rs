//! Acknowledgements that cover all before them.

use std::time::Duration;

use eventbus_core::{ErrorKind, SubscribeOptions, Topic};
use tokio::time::advance;

use crate::support::{connect, next, now, number, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("cumulative.one");
const ACK_WAIT: Duration = Duration::from_secs(30);

fn options() -> SubscribeOptions {
    SubscribeOptions::group("g").cumulative().ack_wait(ACK_WAIT)
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_covers_all_before_it() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "cumulative.one", options()).await;
    for number in 0..6 {
        publish(&bus, &TOPIC, number).await;
    }
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut subscription).await);
    }
    held[0].extend().await.unwrap();
    let last = held.pop().unwrap();
    held.pop().unwrap().ack().await.unwrap();
    assert_eq!(bus.health().await.subscriptions[0].in_flight, 1);
    // One that is covered already is as good as acknowledged.
    held.pop().unwrap().ack().await.unwrap();
    drop(held);
    advance(ACK_WAIT).await;
    let again = next(&mut subscription).await;
    assert_eq!((number(&again), again.attempt()), (4, 2), "the one after it was not covered");
    assert_eq!(last.ack().await.unwrap_err().kind(), ErrorKind::Expired);
    again.ack().await.unwrap();
    assert_eq!(take(&mut subscription, 1).await, [5]);
    advance(ACK_WAIT * 2).await;
    assert!(now(&mut subscription).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn it_covers_what_waits_for_its_redelivery() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "cumulative.one", options()).await;
    publish(&bus, &TOPIC, 0).await;
    publish(&bus, &TOPIC, 1).await;
    next(&mut subscription).await.nack(Duration::from_secs(1)).await.unwrap();
    next(&mut subscription).await.ack().await.unwrap();
    advance(ACK_WAIT).await;
    assert!(now(&mut subscription).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_does_not_cover_what_comes_again_behind_it() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "cumulative.one", options()).await;
    publish(&bus, &TOPIC, 0).await;
    publish(&bus, &TOPIC, 1).await;
    drop(next(&mut subscription).await);
    let last = next(&mut subscription).await;
    advance(ACK_WAIT).await;
    let first = next(&mut subscription).await;
    assert_eq!((number(&first), first.attempt()), (0, 2));
    first.ack().await.unwrap();
    assert_eq!(last.ack().await.unwrap_err().kind(), ErrorKind::Expired);
    let second = next(&mut subscription).await;
    assert_eq!((number(&second), second.attempt()), (1, 2));
}

#[tokio::test]
async fn only_one_subscriber_at_a_time() {
    let bus = connect("memory://").await;
    let first = subscribe(&bus, "cumulative.one", options()).await;
    let refused = bus.subscribe(&TOPIC.filter(), options()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::GroupConflict);
    drop(first);
    publish(&bus, &TOPIC, 0).await;
    let mut second = subscribe(&bus, "cumulative.one", options()).await;
    assert_eq!(take(&mut second, 1).await, [0]);
}
