//! Retention that overtakes readers.

use eventbus_core::{ReceiveError, Start, SubscribeOptions};

use crate::cluster::{PATIENCE, bus, delete_before, number, publish, topic};

async fn truncated(subscription: &mut eventbus_core::Subscription) -> String {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time");
    match next.expect("an item") {
        Err(ReceiveError::Truncated(error)) => error.to_string(),
        other => panic!("not truncated: {other:?}"),
    }
}

#[tokio::test]
async fn group_that_was_away_is_told_and_goes_on_behind_the_gap() {
    let bus = bus("partitions=1").await;
    let topic = topic("away");
    publish(&bus, &topic, "k", 0..10).await;
    let options = SubscribeOptions::group("away");
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await.unwrap();
    for n in 0..5 {
        let delivery = crate::cluster::next(&mut subscription).await;
        assert_eq!(number(&delivery), n);
        delivery.ack_confirmed().await.unwrap();
    }
    subscription.stopper().stop();
    drop(subscription);
    delete_before(&topic, 0, 8).await;
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    let error = truncated(&mut subscription).await;
    assert!(error.contains("expected 5") && error.contains("oldest 8"), "{error}");
    for n in 8..10 {
        let delivery = crate::cluster::next(&mut subscription).await;
        assert_eq!(number(&delivery), n);
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn position_that_is_gone_is_told() {
    let bus = bus("partitions=1").await;
    let topic = topic("gone");
    publish(&bus, &topic, "k", 0..10).await;
    delete_before(&topic, 0, 5).await;
    let first = eventbus_core::Position::new("kafka", topic.clone(), 0, 2);
    let options = SubscribeOptions::new().start(Start::Positions(vec![first]));
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    truncated(&mut subscription).await;
    assert_eq!(number(&crate::cluster::next(&mut subscription).await), 5);
    bus.close().await.unwrap();
}
