//! Topics: provisioning and wildcards.

use eventbus_core::{ErrorKind, EventBusExt, SubscribeOptions, Topic};

use crate::support::{connect, event, next, now, number, publish, subscribe, take};

const ONE: Topic = Topic::from_static("topics.one");
const DEEP: Topic = Topic::from_static("topics.two.deep");
const OTHER: Topic = Topic::from_static("other");

#[tokio::test]
async fn wildcards_select_topics_created_later_from_their_start() {
    let bus = connect("memory://").await;
    let mut star = subscribe(&bus, "topics.*", SubscribeOptions::new()).await;
    let mut rest = subscribe(&bus, "topics.>", SubscribeOptions::group("g")).await;
    assert!(now(&mut star).await.is_none());
    publish(&bus, &ONE, 1).await;
    publish(&bus, &DEEP, 2).await;
    publish(&bus, &OTHER, 3).await;
    assert_eq!(take(&mut star, 1).await, [1]);
    let mut both = take(&mut rest, 2).await;
    both.sort_unstable();
    assert_eq!(both, [1, 2]);
    assert!(now(&mut star).await.is_none());
    assert!(now(&mut rest).await.is_none());
}

#[tokio::test]
async fn a_group_without_members_gets_new_topics_too() {
    let bus = connect("memory://").await;
    drop(subscribe(&bus, "topics.*", SubscribeOptions::group("g")).await);
    publish(&bus, &ONE, 1).await;
    let mut group = subscribe(&bus, "topics.*", SubscribeOptions::group("g")).await;
    assert_eq!(take(&mut group, 1).await, [1]);
}

#[tokio::test]
async fn topics_take_turns() {
    let bus = connect("memory://").await;
    let busy: Topic = "turns.busy".parse().unwrap();
    let quiet: Topic = "turns.quiet".parse().unwrap();
    for number in 0..1000 {
        publish(&bus, &busy, number).await;
    }
    publish(&bus, &quiet, 5000).await;
    let mut all = subscribe(&bus, "turns.*", SubscribeOptions::group("g")).await;
    let numbers = take(&mut all, 200).await;
    assert!(numbers.contains(&5000), "the quiet topic waits behind the busy one");
}

#[tokio::test]
async fn verify_refuses_unknown_topics() {
    let bus = connect("memory://?provision=verify").await;
    let refused = bus.publish(&ONE, event(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TopicNotFound);
    assert_eq!(refused.envelope().payload().as_ref(), b"1");
    let refused = bus.subscribe(&ONE.filter(), SubscribeOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TopicNotFound);
    bus.ensure_topic(&ONE).await.unwrap();
    let mut subscription = subscribe(&bus, "topics.one", SubscribeOptions::new()).await;
    publish(&bus, &ONE, 1).await;
    assert_eq!(number(&next(&mut subscription).await), 1);
}

#[tokio::test]
async fn without_provisioning_the_verdict_says_that_the_topic_is_unknown() {
    let bus = connect("memory://?provision=none").await;
    let receipt = bus.publish_with_receipt(&ONE, event(1)).await.unwrap();
    assert_eq!(receipt.await.unwrap_err().kind(), ErrorKind::TopicNotFound);
    let refused = bus.subscribe(&ONE.filter(), SubscribeOptions::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TopicNotFound);
    bus.ensure_topic(&ONE).await.unwrap();
    let stored = bus.publish_sync(&ONE, event(2)).await.unwrap();
    assert_eq!(stored.position().unwrap().offset(), 0);
}
