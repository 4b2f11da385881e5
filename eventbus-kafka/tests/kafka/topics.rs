//! Names and topics.

use eventbus_core::{ErrorKind, EventBusExt, SubscribeOptions, Topic};

use crate::cluster::{bus, event, next, number, publish, topic};

#[tokio::test]
async fn dot_beside_underscore_is_a_conflict() {
    let bus = bus("partitions=1").await;
    let dotted = topic("a.b");
    let other: Topic = dotted.as_str().replace("a.b", "a_b").parse().unwrap();
    bus.ensure_topic(&dotted).await.unwrap();
    let error = bus.ensure_topic(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConflict);
    assert!(error.to_string().contains(dotted.as_str()), "{error}");
    let refused = bus.publish(&other, event("k", 1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TopicConflict);
    // The one that exists can be used.
    publish(&bus, &dotted, "k", 0..1).await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn wildcards_tell_dots_from_other_characters() {
    let bus = bus("partitions=1").await;
    let inside = topic("x.y");
    let outside: Topic = inside.as_str().replace("x.y", "x-y").parse().unwrap();
    bus.ensure_topic(&inside).await.unwrap();
    bus.ensure_topic(&outside).await.unwrap();
    let filter = inside.as_str().replace("x.y", "x.*").parse().unwrap();
    let mut subscription = bus.subscribe(&filter, SubscribeOptions::group("g")).await.unwrap();
    publish(&bus, &outside, "k", 0..1).await;
    publish(&bus, &inside, "k", 1..2).await;
    let delivery = next(&mut subscription).await;
    assert_eq!((number(&delivery), delivery.topic()), (1, &inside));
    delivery.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn unknown_topics_are_told() {
    let verifying = bus("provision=verify").await;
    let topic = topic("unknown");
    let error = verifying.publish(&topic, event("k", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    let error = verifying.subscribe(&topic.filter(), SubscribeOptions::group("g")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TopicNotFound);
    // Asking did not create it.
    let error = verifying.publish(&topic, event("k", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    verifying.close().await.unwrap();
}

#[tokio::test]
async fn without_provisioning_nothing_is_created() {
    let bus = bus("provision=none&ack_timeout=2s").await;
    let topic = topic("unknown");
    for n in 0..2 {
        let error = bus.publish_sync(&topic, event("k", n)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    }
    bus.ensure_topic(&topic).await.unwrap();
    bus.publish_sync(&topic, event("k", 2)).await.unwrap();
    bus.close().await.unwrap();
}
