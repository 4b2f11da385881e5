//! Partitions whose fetching stands still.

use eventbus_core::{Start, SubscribeOptions};

use crate::cluster::{bus, next, number, publish, topic};

/// Once librdkafka has this many messages of a partition in its queue, it does not look for five
/// minutes whether there is room for more. What it has is delivered meanwhile: then the leader
/// has more, and nothing is fetched, without a word.
const STANDS_STILL: &str =
    "partitions=1&rdkafka.queued.min.messages=100&rdkafka.fetch.queue.backoff.ms=300000";
/// More than that and what the subscription takes together.
const MANY: u64 = 1000;

async fn goes_on(options: SubscribeOptions) {
    let publisher = bus("partitions=1").await;
    let topic = topic("still");
    publish(&publisher, &topic, "k", 0..MANY).await;
    let bus = bus(STANDS_STILL).await;
    let options = options.start(Start::Earliest).max_in_flight(16);
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    let first = next(&mut subscription).await;
    // The queue stays full until the first is settled.
    publish(&publisher, &topic, "k", MANY..MANY + 10).await;
    first.ack().await.unwrap();
    for n in 1..MANY + 10 {
        let delivery = next(&mut subscription).await;
        assert_eq!(number(&delivery), n);
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
    publisher.close().await.unwrap();
}

#[tokio::test]
async fn a_partition_that_stands_still_is_begun_anew() {
    tokio::join!(goes_on(SubscribeOptions::group("still")), goes_on(SubscribeOptions::new()));
}
