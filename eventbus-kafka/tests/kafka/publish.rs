//! Publishing: keys, errors, and producers that cannot go on.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use eventbus_core::{Envelope, ErrorKind, EventBus, EventBusExt, Registry, SubscribeOptions};
use eventbus_kafka::rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use crate::cluster::{bus, bus_at, event, next, number, publish, topic, url};

/// What the tests of Kafka's Java client expect of its `murmur2`.
const JAVA: [(&str, i32); 5] = [
    ("21", -973_932_308),
    ("foobar", -790_332_482),
    ("a-little-bit-long-string", -985_981_536),
    ("a-little-bit-longer-string", -1_486_304_829),
    ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
];

#[tokio::test]
async fn keys_belong_to_the_partitions_of_java() {
    let bus = bus("partitions=7").await;
    let topic = topic("keys");
    for (key, hash) in JAVA {
        let receipt = bus.publish_sync(&topic, event(key, 1)).await.unwrap();
        let partition = u32::try_from((hash & i32::MAX) % 7).unwrap();
        assert_eq!(receipt.position().unwrap().partition(), partition, "{key}");
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn verdict_of_a_too_large_message_is_not_ambiguous() {
    let bus =
        bus("partitions=1&provision=none&max_message_bytes=2000000&max_envelope_bytes=1900000")
            .await;
    let small = crate::cluster::bus("partitions=1").await;
    let topic = topic("large");
    small.ensure_topic(&topic).await.unwrap();
    let envelope = Envelope::new("large", vec![0; 1_800_000]);
    let error = bus.publish_sync(&topic, envelope).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(!error.error().is_ambiguous());
    publish(&bus, &topic, "k", 0..1).await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn no_broker_is_unavailable_and_soon() {
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    let start = Instant::now();
    let error = registry
        .builder("kafka://127.0.0.1:1?connect_timeout=1s")
        .connect()
        .await
        .err()
        .expect("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A broker that answers what the test says.
fn mock() -> MockCluster<'static, DefaultProducerContext> {
    MockCluster::new(1).unwrap()
}

#[tokio::test]
async fn fatal_error_makes_a_new_producer() {
    let cluster = mock();
    cluster.create_topic("fatal", 1, 1).unwrap();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = failures.clone();
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    let bus: Arc<dyn EventBus> = registry
        .builder(&format!("kafka://{}?provision=none", cluster.bootstrap_servers()))
        .on_publish_failure(move |failure| seen.lock().unwrap().push(failure))
        .connect()
        .await
        .unwrap();
    let topic = "fatal".parse().unwrap();
    publish(&bus, &topic, "k", 0..3).await;
    let out_of_order = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    cluster.request_errors(RDKafkaApiKey::Produce, &[out_of_order; 3]);
    bus.publish(&topic, event("k", 3)).await.unwrap();
    bus.flush().await.unwrap();
    {
        let failures = failures.lock().unwrap();
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].error().is_ambiguous(), "{:?}", failures[0].error());
    }
    // Publishing goes on as soon as the new producer is there.
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let deadline = Instant::now() + crate::cluster::PATIENCE;
    while let Err(error) = bus.publish_sync(&topic, event("k", 4)).await {
        assert!(error.error().kind() == ErrorKind::Unavailable, "{error}");
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn foreign_properties_reach_librdkafka() {
    let bus = bus_at(url(), "partitions=1&rdkafka.compression.type=lz4&rdkafka.linger.ms=2").await;
    let topic = topic("compressed");
    publish(&bus, &topic, "k", 0..100).await;
    let options = SubscribeOptions::group("compressed");
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    for n in 0..100 {
        let delivery = next(&mut subscription).await;
        assert_eq!(number(&delivery), n);
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    let refused = registry.builder(&format!("{}?rdkafka.no.such.thing=1", url())).connect().await;
    let error = refused.err().expect("no such property");
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("no.such.thing"), "{error}");
}
