//! Servers that die in the middle.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use eventbus_core::{BusConfig, EventBus, EventBusExt, HealthStatus, Start, SubscribeOptions};
use test_brokers::Nats;

use crate::steps::{Led, TOPIC, connect, connect_with, event, next, number, publish, until};

const KEYS: u64 = 4;

/// Publishes until told to stop; what was acknowledged is written down.
async fn write(
    bus: Arc<dyn EventBus>,
    key: u64,
    stop: tokio::sync::watch::Receiver<bool>,
    acknowledged: Arc<Mutex<HashSet<(u64, u64)>>>,
) -> u64 {
    let mut n = 0;
    while !*stop.borrow() {
        n += 1;
        let receipt = bus.publish_with_receipt(&TOPIC, event(&key.to_string(), n)).await;
        let Ok(receipt) = receipt else { continue };
        let acknowledged = acknowledged.clone();
        // The verdicts are taken as they come, sixteen behind at most.
        if n % 16 == 0 {
            if receipt.await.is_ok() {
                acknowledged.lock().unwrap().insert((key, n));
            }
        } else {
            tokio::spawn(async move {
                if receipt.await.is_ok() {
                    acknowledged.lock().unwrap().insert((key, n));
                }
            });
        }
    }
    n
}

/// Reads all that is stored: for each key its numbers in their order.
async fn read_all(bus: &Arc<dyn EventBus>) -> HashMap<u64, Vec<u64>> {
    let last = u64::MAX >> 1;
    bus.publish_sync(&TOPIC, event("end", last)).await.unwrap();
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut reader = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    let mut stored: HashMap<u64, Vec<u64>> = HashMap::new();
    loop {
        let delivery = next(&mut reader).await;
        if number(&delivery) == last {
            return stored;
        }
        if let Ok(key) = delivery.envelope().aggregate_id().unwrap().parse() {
            stored.entry(key).or_default().push(number(&delivery));
        }
        delivery.ack().await.unwrap();
    }
}

async fn kill_mid_publish(parameters: &str) {
    let server = Nats::start().await.unwrap();
    let url = format!("{}?{parameters}", server.url());
    let mut config = BusConfig::default();
    config.retry_max_elapsed = Duration::from_secs(20);
    config.ack_timeout = Duration::from_secs(4);
    let bus = connect_with(&url, config).await;
    publish(&bus, 0).await.unwrap();
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writers: Vec<_> = (1..=KEYS)
        .map(|key| tokio::spawn(write(bus.clone(), key, stopped.clone(), acknowledged.clone())))
        .collect();
    let count = |acknowledged: &Arc<Mutex<HashSet<_>>>| acknowledged.lock().unwrap().len();
    for _ in 0..2 {
        let before = count(&acknowledged);
        until("it flows", async || count(&acknowledged) > before + 200).await;
        server.kill();
        server.restart().await.unwrap();
    }
    let before = count(&acknowledged);
    until("it flows again", async || count(&acknowledged) > before + 200).await;
    stop.send_replace(true);
    let mut attempted = HashMap::new();
    for (key, writer) in (1..=KEYS).zip(writers) {
        attempted.insert(key, writer.await.unwrap());
    }
    bus.close().await.unwrap();
    let reader = connect(server.url()).await.unwrap();
    let stored = read_all(&reader).await;
    reader.close().await.unwrap();
    check(&stored, &acknowledged.lock().unwrap(), &attempted);
}

fn check(
    stored: &HashMap<u64, Vec<u64>>,
    acknowledged: &HashSet<(u64, u64)>,
    attempted: &HashMap<u64, u64>,
) {
    for key in 1..=KEYS {
        let numbers = &stored[&key];
        let found: HashSet<u64> = numbers.iter().copied().collect();
        let lost: Vec<_> =
            acknowledged.iter().filter(|(owner, n)| *owner == key && !found.contains(n)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        assert!(numbers.iter().all(|n| *n <= attempted[&key]), "stored and never published");
        let mut highest = 0;
        for n in numbers {
            assert!(*n >= highest, "key {key}: {n} is stored behind {highest}");
            highest = *n;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_mid_publish_nothing_acknowledged_is_lost_and_nothing_inverted() {
    kill_mid_publish("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_mid_publish_with_strict_order() {
    kill_mid_publish("strict_order=true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_mid_publish_with_batches() {
    kill_mid_publish("fast_ingest=always").await;
}

#[tokio::test]
async fn frozen_past_the_ack_timeout_late_acknowledgements_are_counted() {
    let server = Nats::start().await.unwrap();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(1);
    let url = format!("{}?ping_interval=20s", server.url());
    let bus = connect_with(&url, config).await;
    publish(&bus, 0).await.unwrap();
    server.pause().unwrap();
    let mut receipts = Vec::new();
    for n in 1..=10 {
        receipts.push(bus.publish_with_receipt(&TOPIC, event("k", n)).await.unwrap());
    }
    for receipt in receipts {
        let error = receipt.await.unwrap_err();
        assert!(error.error().is_ambiguous(), "{error}");
    }
    server.resume().unwrap();
    until("the late ones are counted", async || bus.stats().late_acks == 10).await;
    publish(&bus, 11).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_was_in_flight_when_the_connection_was_lost_is_reported_at_once() {
    let server = Nats::start().await.unwrap();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(60);
    let bus = connect_with(server.url(), config).await;
    publish(&bus, 0).await.unwrap();
    server.pause().unwrap();
    let sent = bus.publish_with_receipt(&TOPIC, event("k", 1)).await.unwrap();
    until("it is in flight", async || bus.stats().in_flight == 1).await;
    // Long enough for it to be written.
    until("it is written", async || wrote(&bus) > 1).await;
    server.kill();
    let error = tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap().unwrap_err();
    assert!(error.error().is_ambiguous(), "{error}");
    assert!(error.to_string().contains("connection was lost"), "{error}");
    // What comes now waits for the connection.
    let waiting = bus.publish_with_receipt(&TOPIC, event("k", 2)).await.unwrap();
    server.restart().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    bus.close().await.unwrap();
}

fn wrote(bus: &Arc<dyn EventBus>) -> u64 {
    let bus = bus.as_any().downcast_ref::<eventbus_nats::NatsBus>().unwrap();
    let client = bus.transport().client().unwrap();
    client.statistics().out_messages.load(std::sync::atomic::Ordering::Relaxed)
}

/// What the server has not read of an old connection is stored after what came over the new
/// one; with strict order the stream recognises it.
#[tokio::test]
async fn the_stale_tail_of_a_lost_connection_is_recognised() {
    let server = Nats::start().await.unwrap();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(60);
    let parameters = "strict_order=true&ping_interval=200ms&connect_timeout=1s";
    let bus = connect_with(&format!("{}?{parameters}", server.url()), config).await;
    publish(&bus, 0).await.unwrap();
    server.pause().unwrap();
    let written = wrote(&bus);
    let mut receipts = Vec::new();
    for n in 1..=5 {
        receipts.push(bus.publish_with_receipt(&TOPIC, event("1", n)).await.unwrap());
    }
    until("the first is written", async || wrote(&bus) > written).await;
    let lost = async || bus.health().await.status == HealthStatus::Unavailable;
    until("the silence is noticed", lost).await;
    server.resume().unwrap();
    for receipt in receipts {
        tokio::time::timeout(Duration::from_secs(30), receipt).await.unwrap().unwrap();
    }
    assert_eq!(bus.stats().failed, 0);
    bus.close().await.unwrap();
    let reader = connect(server.url()).await.unwrap();
    assert_eq!(read_all(&reader).await[&1], [1, 2, 3, 4, 5]);
    reader.close().await.unwrap();
}

/// The leader of the stream dies; publishing and receiving go on with the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_without_its_leader() {
    let cluster = Nats::builder().start_cluster(3).await.unwrap();
    let url = format!("{}?replicas=3", cluster.url());
    let mut config = BusConfig::default();
    config.retry_max_elapsed = Duration::from_secs(30);
    let bus = connect_with(&url, config).await;
    publish(&bus, 1).await.unwrap();
    let group = SubscribeOptions::group("g").ack_wait(Duration::from_secs(5));
    let mut subscription = bus.subscribe(&TOPIC.filter(), group).await.unwrap();
    next(&mut subscription).await.ack_confirmed().await.unwrap();
    let leader = cluster.leader_of("EVENTBUS").await.unwrap();
    cluster.node(leader).kill();
    let mut stored = HashSet::new();
    let mut n = 1;
    until("it flows again", async || {
        n += 1;
        if publish(&bus, n).await.is_ok() {
            stored.insert(n);
        }
        stored.len() >= 20
    })
    .await;
    while !stored.is_empty() {
        let delivery = next(&mut subscription).await;
        stored.remove(&number(&delivery));
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
}

/// The leader dies and the connection, which is to another server, does not: with strict order
/// each key waits for an answer that never comes, and must ask again in spite of the load.
#[tokio::test(flavor = "multi_thread")]
async fn strict_order_goes_on_without_the_leader_under_load() {
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(1);
    let scene = Led::start("strict_order=true", config).await;
    let bus = scene.bus.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = tokio::spawn({
        let bus = bus.clone();
        async move {
            let mut n = 0;
            while !*stopped.borrow() {
                n += 1;
                // More than one at a time can take, so that one is always on its way.
                let _ = bus.publish(&TOPIC, event("k", n)).await;
                if n % 4 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    let more = async |than: u64| {
        until("more is acknowledged", async || bus.stats().acknowledged > than).await;
    };
    more(50).await;
    scene.kill_leader();
    // Until those that were on their way have their verdict.
    until("some time out", async || bus.stats().failed > 0).await;
    more(bus.stats().acknowledged + 50).await;
    stop.send_replace(true);
    writer.await.unwrap();
    bus.close().await.unwrap();
}
