//! The broker, and what a test does to it behind the bus's back.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use eventbus_core::{Delivery, Envelope, EventBus, EventBusExt, Registry, Subscription, Topic};
use eventbus_kafka::rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use test_brokers::{Found, Kafka, discover};

/// Far more than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One broker for all tests of this program, started outside of their runtimes.
static BROKER: LazyLock<Found<Kafka>> = LazyLock::new(|| {
    let start = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(discover::kafka()).expect("a Kafka broker")
    };
    std::thread::spawn(start).join().expect("a Kafka broker")
});
static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) fn url() -> &'static str {
    LazyLock::force(&BROKER);
    if std::env::var_os("EVENTBUS_TEST_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_env("EVENTBUS_TEST_LOG"))
            .try_init();
    }
    Found::<Kafka>::url(&BROKER)
}

/// A topic that no other test and no other run uses.
pub(crate) fn topic(name: &str) -> Topic {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{number}.{name}", std::process::id()).parse().unwrap()
}

pub(crate) async fn bus(parameters: &str) -> Arc<dyn EventBus> {
    bus_at(url(), parameters).await
}

pub(crate) async fn bus_at(url: &str, parameters: &str) -> Arc<dyn EventBus> {
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    registry.builder(&format!("{url}?{parameters}")).connect().await.unwrap()
}

pub(crate) fn client() -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", url().trim_start_matches("kafka://"));
    client
}

fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

pub(crate) async fn add_partitions(topic: &Topic, total: usize) {
    let more = NewPartitions::new(topic.as_str(), total);
    let results = admin().create_partitions([&more], &options()).await.unwrap();
    results.into_iter().for_each(|result| drop(result.unwrap()));
}

/// What retention does: all before `offset` goes.
pub(crate) async fn delete_before(topic: &Topic, partition: i32, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic.as_str(), partition, Offset::Offset(offset)).unwrap();
    admin().delete_records(&list, &options()).await.unwrap();
}

/// The committed offset and its metadata.
pub(crate) fn committed(group: &str, topic: &Topic, partition: i32) -> Option<(i64, String)> {
    let consumer: BaseConsumer = client().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic.as_str(), partition);
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    let element = &committed.elements()[0];
    match element.offset() {
        Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
        _ => None,
    }
}

/// The state of a group and how many members it has.
pub(crate) fn members(group: &str) -> (String, usize) {
    let consumer: BaseConsumer = client().create().unwrap();
    let list = consumer.fetch_group_list(Some(group), PATIENCE).unwrap();
    let found = list.groups().iter().find(|found| found.name() == group);
    found.map_or_else(Default::default, |found| (found.state().to_owned(), found.members().len()))
}

pub(crate) fn event(key: &str, number: u64) -> Envelope {
    Envelope::new("test", number.to_string()).key(key)
}

pub(crate) fn number(delivery: &Delivery) -> u64 {
    std::str::from_utf8(delivery.envelope().payload()).unwrap().parse().unwrap()
}

pub(crate) async fn publish(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    key: &str,
    numbers: std::ops::Range<u64>,
) {
    let events = numbers.map(|number| event(key, number)).collect();
    bus.publish_batch(topic, events).await.unwrap();
}

pub(crate) async fn next(subscription: &mut Subscription) -> Delivery {
    let next = tokio::time::timeout(PATIENCE, subscription.try_next());
    next.await.expect("a delivery in time").expect("a delivery").expect("a delivery")
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
