//! Where subscriptions start.

use std::time::{Duration, SystemTime};

use eventbus_core::{ErrorKind, Position, Start, SubscribeOptions, Topic};

use crate::support::{connect, next, now, publish, subscribe, take};

const ONE: Topic = Topic::from_static("starts.one");
const TWO: Topic = Topic::from_static("starts.two");

fn own(start: Start) -> SubscribeOptions {
    SubscribeOptions::new().start(start)
}

#[tokio::test]
async fn earliest_and_latest() {
    let bus = connect("memory://").await;
    for number in 0..3 {
        publish(&bus, &ONE, number).await;
    }
    let mut earliest = subscribe(&bus, "starts.one", own(Start::Earliest)).await;
    let mut latest = subscribe(&bus, "starts.one", own(Start::Latest)).await;
    let mut group = subscribe(&bus, "starts.one", SubscribeOptions::group("g")).await;
    publish(&bus, &ONE, 3).await;
    assert_eq!(take(&mut earliest, 4).await, [0, 1, 2, 3]);
    assert_eq!(take(&mut latest, 1).await, [3]);
    assert_eq!(take(&mut group, 4).await, [0, 1, 2, 3], "groups start with the earliest");
}

#[tokio::test]
async fn a_position_is_included_and_other_topics_start_at_the_earliest() {
    let bus = connect("memory://").await;
    for number in 0..5 {
        publish(&bus, &ONE, number).await;
        publish(&bus, &TWO, 10 + number).await;
    }
    let position: Position = "memory:starts.one:0:3".parse().unwrap();
    let mut replay = subscribe(&bus, "starts.*", own(Start::Positions(vec![position]))).await;
    let mut numbers = take(&mut replay, 7).await;
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 10, 11, 12, 13, 14]);
    assert!(now(&mut replay).await.is_none());
}

#[tokio::test]
async fn a_position_of_a_delivery_leads_back_to_it() {
    let bus = connect("memory://").await;
    for number in 0..5 {
        publish(&bus, &ONE, number).await;
    }
    let mut first = subscribe(&bus, "starts.one", own(Start::Earliest)).await;
    take(&mut first, 2).await;
    let position = next(&mut first).await.position().to_string().parse().unwrap();
    let mut replay = subscribe(&bus, "starts.one", own(Start::Positions(vec![position]))).await;
    assert_eq!(take(&mut replay, 3).await, [2, 3, 4]);
}

#[tokio::test]
async fn positions_that_cannot_be() {
    let bus = connect("memory://").await;
    publish(&bus, &ONE, 0).await;
    let at = |text: &str| own(Start::Positions(vec![text.parse().unwrap()]));
    let refused = bus.subscribe(&ONE.filter(), at("memory:starts.one:1:0")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    // One of an earlier broker, that had more messages.
    let mut beyond = subscribe(&bus, "starts.one", at("memory:starts.one:0:1000")).await;
    publish(&bus, &ONE, 1).await;
    assert_eq!(take(&mut beyond, 1).await, [1]);
}

#[tokio::test]
async fn a_time_starts_with_the_first_message_stored_then_or_later() {
    let bus = connect("memory://").await;
    for number in 0..3 {
        publish(&bus, &ONE, number).await;
        // So that no two have the same time.
        let stored = SystemTime::now();
        while SystemTime::now() <= stored + Duration::from_micros(10) {
            std::hint::spin_loop();
        }
    }
    let mut all = subscribe(&bus, "starts.one", own(Start::Earliest)).await;
    take(&mut all, 1).await;
    let time = next(&mut all).await.published_at();
    let mut from = subscribe(&bus, "starts.one", own(Start::Time(time))).await;
    assert_eq!(take(&mut from, 2).await, [1, 2]);
    let just_after = time + Duration::from_nanos(1);
    let mut after = subscribe(&bus, "starts.one", own(Start::Time(just_after))).await;
    assert_eq!(take(&mut after, 1).await, [2]);
    let before = own(Start::Time(SystemTime::UNIX_EPOCH));
    let mut before = subscribe(&bus, "starts.one", before).await;
    assert_eq!(take(&mut before, 3).await, [0, 1, 2]);
}

#[tokio::test]
async fn the_start_counts_only_where_the_group_has_no_position() {
    let bus = connect("memory://").await;
    for number in 0..3 {
        publish(&bus, &ONE, number).await;
    }
    let group = |start| SubscribeOptions::group("g").start(start);
    let mut first = subscribe(&bus, "starts.one", group(Start::Earliest)).await;
    take(&mut first, 1).await;
    drop(first);
    let mut second = subscribe(&bus, "starts.one", group(Start::Latest)).await;
    assert_eq!(take(&mut second, 2).await, [1, 2]);
    drop(second);
    let mut third = subscribe(&bus, "starts.one", group(Start::Earliest)).await;
    publish(&bus, &ONE, 3).await;
    assert_eq!(take(&mut third, 1).await, [3]);
}

#[tokio::test]
async fn what_is_published_right_after_subscribing_is_delivered() {
    let bus = connect("memory://").await;
    for number in 0..100 {
        let mut latest = subscribe(&bus, "starts.>", own(Start::Latest)).await;
        publish(&bus, &ONE, number).await;
        assert_eq!(take(&mut latest, 1).await, [number]);
    }
}
