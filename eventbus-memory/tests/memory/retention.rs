//! Retention overtakes readers.

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    Envelope, ErrorKind, EventBus, EventBusExt, Ordering, ReceiveError, Start, SubscribeOptions,
    Subscription, Topic,
};

use crate::support::{connect, next, now, number, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("retention.one");

/// Room for about ten messages.
const SMALL: &str = "memory://?retention_bytes=2000";

async fn truncated(subscription: &mut Subscription) -> (usize, usize) {
    let item = tokio::time::timeout(crate::support::DEADLINE, subscription.next());
    let Some(Err(ReceiveError::Truncated(error))) = item.await.expect("an item in time") else {
        panic!("nothing is missing");
    };
    assert_eq!(error.kind(), ErrorKind::Truncated);
    let fact = |name| {
        let (_, value) = error.context().find(|(n, _)| *n == name).expect("the fact");
        value.parse().expect("a number")
    };
    (fact("lost"), fact("goes on at"))
}

async fn fill(bus: &Arc<dyn EventBus>, numbers: std::ops::Range<usize>) {
    for number in numbers {
        publish(bus, &TOPIC, number).await;
    }
}

#[tokio::test]
async fn an_overtaken_reader_is_told_once_and_goes_on() {
    let bus = connect(SMALL).await;
    let mut reader = subscribe(&bus, "retention.one", SubscribeOptions::group("g")).await;
    fill(&bus, 0..3).await;
    assert_eq!(take(&mut reader, 1).await, [0]);
    fill(&bus, 3..100).await;
    let (lost, next_offset) = truncated(&mut reader).await;
    assert_eq!(lost, next_offset - 1, "all but the first, which was delivered");
    assert!(next_offset > 50);
    assert_eq!(take(&mut reader, 100 - next_offset).await, (next_offset..100).collect::<Vec<_>>());
    assert!(now(&mut reader).await.is_none());
}

#[tokio::test]
async fn each_gap_is_told() {
    let bus = connect(SMALL).await;
    let mut reader = subscribe(&bus, "retention.one", SubscribeOptions::new()).await;
    for round in 0..3 {
        fill(&bus, round * 100..round * 100 + 100).await;
        let (_, next_offset) = truncated(&mut reader).await;
        take(&mut reader, (round + 1) * 100 - next_offset).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_redelivery_is_told_once() {
    let bus = connect(SMALL).await;
    for ordering in [Ordering::Unordered, Ordering::PerKey] {
        let group = format!("g{ordering:?}");
        let options = SubscribeOptions::group(group).start(Start::Latest).ordering(ordering);
        let mut reader = subscribe(&bus, "retention.one", options).await;
        for number in 0..5 {
            let envelope = Envelope::new("t", number.to_string()).key("key");
            bus.publish_sync(&TOPIC, envelope).await.unwrap();
        }
        let held = next(&mut reader).await;
        held.nack(Duration::from_secs(60)).await.unwrap();
        let (delivered, passed_over) = match ordering {
            Ordering::PerKey => (0, 4),
            _ => (take(&mut reader, 4).await.len(), 0),
        };
        assert!(now(&mut reader).await.is_none(), "{delivered}");
        fill(&bus, 0..100).await;
        tokio::time::advance(Duration::from_secs(61)).await;
        let (lost, _) = truncated(&mut reader).await;
        assert!(lost > passed_over, "the redelivery and what waited behind it");
        let first = next(&mut reader).await;
        assert_eq!(first.attempt(), 1);
        first.ack().await.unwrap();
        let rest = 99 - number_of_first(&bus);
        take(&mut reader, rest).await;
        assert!(now(&mut reader).await.is_none());
    }
}

fn number_of_first(bus: &Arc<dyn EventBus>) -> usize {
    let probe = eventbus_memory::testing::Probe::of(&**bus).expect("a memory bus");
    let first = &probe.published(&TOPIC)[0];
    let text = str::from_utf8(first.payload()).expect("text");
    text.parse().expect("a number")
}

#[tokio::test]
async fn what_is_held_can_be_settled_though_it_is_gone() {
    let bus = connect(SMALL).await;
    let mut reader = subscribe(&bus, "retention.one", SubscribeOptions::group("g")).await;
    fill(&bus, 0..1).await;
    let held = next(&mut reader).await;
    fill(&bus, 1..100).await;
    held.ack().await.unwrap();
    let (lost, next_offset) = truncated(&mut reader).await;
    assert_eq!(lost, next_offset - 1);
}

#[tokio::test]
async fn starting_at_the_earliest_misses_nothing_but_a_removed_position_does() {
    let bus = connect(SMALL).await;
    fill(&bus, 0..100).await;
    let earliest = SubscribeOptions::new().start(Start::Earliest);
    let mut earliest = subscribe(&bus, "retention.one", earliest).await;
    let first = number(&next(&mut earliest).await);
    assert!(first > 50);
    let position = "memory:retention.one:0:10".parse().unwrap();
    let at = SubscribeOptions::new().start(Start::Positions(vec![position]));
    let mut at = subscribe(&bus, "retention.one", at).await;
    assert_eq!(truncated(&mut at).await, (first - 10, first));
    assert_eq!(take(&mut at, 1).await, [first]);
}

#[tokio::test]
async fn one_message_as_large_as_the_retention_fits_and_a_larger_one_does_not() {
    let bus = connect("memory://?retention_bytes=1000").await;
    assert_eq!(bus.capabilities().max_message_bytes, 1000);
    let overhead = Envelope::new("t", "").encoded_len();
    let largest = Envelope::new("t", vec![0; 1000 - overhead]);
    bus.publish_sync(&TOPIC, largest.clone()).await.unwrap();
    let mut reader =
        subscribe(&bus, "retention.one", SubscribeOptions::new().start(Start::Earliest)).await;
    assert_eq!(next(&mut reader).await.envelope().payload().len(), 1000 - overhead);
    let larger = Envelope::new("t", vec![0; 1001 - overhead]);
    let refused = bus.publish_sync(&TOPIC, larger).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
}
