//! One key's deliveries one at a time and in order, across all members of a group.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventbus_core::{EventBus, EventBusExt, Ordering, Start, SubscribeOptions, Topic};
use tokio::time::advance;

use crate::support::{connect, event, next, now, number, publish_keyed, subscribe, take};

const TOPIC: Topic = Topic::from_static("keys.one");
const ACK_WAIT: Duration = Duration::from_secs(10);

fn options() -> SubscribeOptions {
    SubscribeOptions::group("g").ordering(Ordering::PerKey).ack_wait(ACK_WAIT)
}

#[tokio::test]
async fn a_key_waits_for_its_settlement_and_others_go_on() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "keys.one", options()).await;
    let mut two = subscribe(&bus, "keys.one", options()).await;
    for (key, number) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)] {
        publish_keyed(&bus, &TOPIC, key, number).await;
    }
    let a = next(&mut one).await;
    let b = next(&mut two).await;
    assert_eq!((number(&a), number(&b)), (1, 3));
    assert!(now(&mut one).await.is_none(), "both keys are under way");
    assert!(now(&mut two).await.is_none());
    b.ack().await.unwrap();
    let b = next(&mut one).await;
    assert_eq!(number(&b), 5);
    a.ack().await.unwrap();
    assert_eq!(take(&mut two, 2).await, [2, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_across_nack_and_expiry() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "keys.one", options()).await;
    let mut two = subscribe(&bus, "keys.one", options()).await;
    for number in 1..4 {
        publish_keyed(&bus, &TOPIC, "a", number).await;
    }
    next(&mut one).await.nack(Duration::from_secs(5)).await.unwrap();
    assert!(now(&mut two).await.is_none(), "its successor waits with it");
    let again = next(&mut two).await;
    assert_eq!((number(&again), again.attempt()), (1, 2));
    drop(again);
    assert!(now(&mut one).await.is_none());
    advance(ACK_WAIT).await;
    let again = next(&mut one).await;
    assert_eq!((number(&again), again.attempt()), (1, 3));
    again.reject("never").await.unwrap();
    assert_eq!(take(&mut two, 2).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_member_left_behind_keeps_its_order() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "keys.one", options()).await;
    let mut two = subscribe(&bus, "keys.one", options()).await;
    publish_keyed(&bus, &TOPIC, "a", 1).await;
    publish_keyed(&bus, &TOPIC, "a", 2).await;
    let held = next(&mut one).await;
    drop(one);
    assert!(now(&mut two).await.is_none());
    held.ack().await.unwrap();
    assert_eq!(take(&mut two, 1).await, [2]);
}

#[tokio::test]
async fn envelopes_without_a_key_are_not_ordered() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "keys.one", options()).await;
    for number in 0..3 {
        bus.publish_sync(&TOPIC, event(number)).await.unwrap();
    }
    let held = [next(&mut one).await, next(&mut one).await, next(&mut one).await];
    assert_eq!(held.map(|delivery| number(&delivery)), [0, 1, 2]);
}

#[tokio::test]
async fn the_same_key_in_two_topics_is_two_keys() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "keys.*", options()).await;
    publish_keyed(&bus, &TOPIC, "a", 1).await;
    publish_keyed(&bus, &Topic::from_static("keys.two"), "a", 2).await;
    let held = [next(&mut one).await, next(&mut one).await];
    let mut numbers = held.map(|delivery| number(&delivery));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
}

/// Nacks one key for ever and acknowledges the others, until those are through.
#[tokio::test(start_paused = true)]
async fn a_key_nacked_for_ever_does_not_stop_the_others() {
    const WINDOW: usize = 64;
    let bus = connect("memory://").await;
    let mut reader = subscribe(&bus, "keys.one", options().max_in_flight(WINDOW)).await;
    for number in 0..WINDOW * 10 {
        publish_keyed(&bus, &TOPIC, "poison", number).await;
    }
    for number in 0..WINDOW * 10 {
        publish_keyed(&bus, &TOPIC, &format!("key{}", number % 7), number).await;
    }
    for delay in [Duration::ZERO, Duration::from_millis(10)] {
        let mut done = 0;
        while done < WINDOW * 5 {
            let delivery = next(&mut reader).await;
            if delivery.envelope().aggregate_id() == Some("poison") {
                assert_eq!(number(&delivery), 0, "it is not passed over by its successors");
                delivery.nack(delay).await.unwrap();
            } else {
                delivery.ack().await.unwrap();
                done += 1;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_over_is_bounded_and_the_pause_ends() {
    // The least that a group passes over before it takes nothing new.
    const BOUND: usize = 1 << 16;
    let bus = connect("memory://").await;
    let mut reader = subscribe(&bus, "keys.one", options()).await;
    for number in 0..BOUND + 100 {
        bus.publish(&TOPIC, event(number).key("poison")).await.unwrap();
    }
    publish_keyed(&bus, &TOPIC, "other", 0).await;
    let poison = next(&mut reader).await;
    assert!(now(&mut reader).await.is_none(), "too much has been passed over");
    let health = bus.health().await;
    assert!(health.subscriptions[0].problem.is_some());
    poison.ack().await.unwrap();
    let mut others = 0;
    let mut expected = 1;
    for _ in 0..300 {
        let delivery = next(&mut reader).await;
        if delivery.envelope().aggregate_id() == Some("other") {
            others += 1;
        } else {
            assert_eq!(number(&delivery), expected);
            expected += 1;
        }
        delivery.ack().await.unwrap();
    }
    assert_eq!(others, 1, "the other key is reached in between");
    assert!(bus.health().await.is_healthy());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_many_members_with_trouble() {
    const KEYS: usize = 50;
    const EACH: usize = 20;
    let bus = connect("memory://").await;
    let seen: Arc<Mutex<HashMap<String, Vec<usize>>>> = Arc::default();
    let mut members = Vec::new();
    for member in 0..4 {
        let start = options().start(Start::Earliest).max_in_flight(16);
        let mut subscription = subscribe(&bus, "keys.one", start).await;
        let seen = seen.clone();
        members.push(tokio::spawn(async move {
            let mut trouble = member;
            while let Ok(Some(delivery)) = subscription.try_next().await {
                trouble += 1;
                if trouble % 7 == 0 {
                    delivery.nack(Duration::from_millis(trouble as u64 % 3)).await.unwrap();
                    continue;
                }
                let key = delivery.envelope().aggregate_id().unwrap().to_owned();
                seen.lock().unwrap().entry(key).or_default().push(number(&delivery));
                delivery.ack().await.unwrap();
            }
        }));
    }
    for number in 0..EACH {
        for key in 0..KEYS {
            publish_keyed(&bus, &TOPIC, &key.to_string(), number).await;
        }
    }
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    while bus.stats().settled < (KEYS * EACH) as u64 {
        assert!(tokio::time::Instant::now() < deadline, "not all were delivered");
        tokio::task::yield_now().await;
    }
    bus.close().await.unwrap();
    for member in members {
        member.await.unwrap();
    }
    let expected: Vec<_> = (0..EACH).collect();
    for (key, numbers) in &*seen.lock().unwrap() {
        assert_eq!(numbers, &expected, "the order of {key}");
    }
    assert_eq!(seen.lock().unwrap().len(), KEYS);
}
