//! Fast ingest: what goes through batches, and what becomes of a batch that breaks off.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventbus_core::{
    BusConfig, ErrorKind, EventBus, EventBusExt, HealthStatus, Start, SubscribeOptions,
};
use futures_util::StreamExt;
use serde_json::json;
use test_brokers::Nats;

use crate::{
    steps::{
        Led, TOPIC, api, connect, connect_with, event, next, number, publish, raw, registry, until,
    },
    streams::stream,
};

/// What the servers' batches end their reply subjects with.
const BATCH: &str = ".$FI";

/// Publishes these numbers without waiting, and then for all verdicts.
async fn burst(bus: &Arc<dyn EventBus>, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        bus.publish(&TOPIC, event("k", n)).await.unwrap();
    }
    bus.flush().await.unwrap();
}

/// Reads the numbers up to `last`, in the order in which they are stored.
async fn stored(url: &str, last: u64) -> Vec<u64> {
    let mut bus = None;
    until("it connects", async || {
        bus = connect(url).await.ok();
        bus.is_some()
    })
    .await;
    let bus = bus.unwrap();
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut reader = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let delivery = next(&mut reader).await;
        numbers.push(number(&delivery));
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
    numbers
}

/// How many of what is published while `work` runs go through batches, and how many do not.
async fn by_path(server: &Nats, work: impl Future<Output = ()>) -> (usize, usize) {
    let client = raw(server).await;
    let mut published = client.subscribe("eb.>").await.unwrap();
    client.flush().await.unwrap();
    work.await;
    client.publish("eb.end", "".into()).await.unwrap();
    let (mut batched, mut single) = (0, 0);
    while let Some(message) = published.next().await {
        if message.subject.as_str() == "eb.end" {
            break;
        }
        match message.reply {
            // The end of a batch has no payload, and is not stored.
            Some(reply) if reply.ends_with(BATCH) => {
                batched += usize::from(!message.payload.is_empty());
            }
            _ => single += 1,
        }
    }
    (batched, single)
}

/// What nobody waits for and piles up is batched, the rest is not; and all is stored in order.
#[tokio::test]
async fn what_piles_up_goes_through_batches() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    let (batched, single) = by_path(&server, async {
        for n in 1..=5 {
            publish(&bus, n).await.unwrap();
        }
        burst(&bus, 6..=2000).await;
        for n in 2001..=2005 {
            publish(&bus, n).await.unwrap();
        }
    })
    .await;
    assert!(single >= 10, "{single} went alone");
    assert!(batched > 1000, "only {batched} were batched");
    assert_eq!(stored(server.url(), 2005).await, (1..=2005).collect::<Vec<_>>());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn each_path_can_be_forced() {
    for (parameters, is_batched) in [("fast_ingest=off", false), ("fast_ingest=always", true)] {
        let server = Nats::start().await.unwrap();
        let bus = connect(&format!("{}?{parameters}", server.url())).await.unwrap();
        assert_eq!(bus.capabilities().ordered_across_reconnect, is_batched);
        let (batched, single) = by_path(&server, async {
            burst(&bus, 1..=999).await;
            publish(&bus, 1000).await.unwrap();
        })
        .await;
        let expected = if is_batched { (1000, 0) } else { (0, 1000) };
        assert_eq!((batched, single), expected, "{parameters}");
        bus.close().await.unwrap();
    }
}

/// A stream that somebody else made takes none: the bus goes on without, or says what to do.
#[tokio::test]
async fn a_stream_without_batches_is_used_without() {
    let server = Nats::start().await.unwrap();
    api(&raw(&server).await, "STREAM.CREATE.EVENTBUS", &stream(&json!({}))).await;
    for parameters in ["", "provision=none"] {
        let bus = connect(&format!("{}?{parameters}", server.url())).await.unwrap();
        let before = bus.stats().acknowledged;
        burst(&bus, 1..=1000).await;
        assert_eq!((bus.stats().acknowledged - before, bus.stats().failed), (1000, 0));
        bus.close().await.unwrap();
    }
    let always = connect(&format!("{}?fast_ingest=always", server.url())).await.unwrap();
    let error = publish(&always, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConflict);
    assert!(error.to_string().contains("allow_batched"), "{error}");
    always.close().await.unwrap();
    let always = format!("{}?fast_ingest=always&provision=none", server.url());
    let always = connect(&always).await.unwrap();
    let error = publish(&always, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Rejected, false));
    assert!(error.to_string().contains("allow_batched"), "{error}");
    always.close().await.unwrap();
}

/// More buses than the server lets batches be open: those that get none publish without.
#[tokio::test]
async fn too_many_batches_are_no_failure() {
    let limits = "jetstream { limits { batch { max_inflight_per_stream: 1 } } }";
    let server = Nats::builder().config(limits).start().await.unwrap();
    let buses: Vec<_> =
        [connect(server.url()).await.unwrap(), connect(server.url()).await.unwrap()]
            .into_iter()
            .collect();
    for round in 0..5 {
        let numbers = round * 1000 + 1..=(round + 1) * 1000;
        tokio::join!(burst(&buses[0], numbers.clone()), burst(&buses[1], numbers));
    }
    for bus in buses {
        assert_eq!((bus.stats().acknowledged, bus.stats().failed), (5000, 0));
        bus.close().await.unwrap();
    }
}

#[tokio::test]
async fn with_strict_order_batches_cannot_be_demanded() {
    let url = "nats://127.0.0.1:1?strict_order=true&fast_ingest=always";
    let error = registry().builder(url).connect().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("strict_order"), "{error}");
}

/// The server ends a batch at what it refuses: that one fails, and all behind it is stored, in
/// order.
#[tokio::test]
async fn what_is_refused_in_the_middle_fails_alone() {
    let server = Nats::start().await.unwrap();
    let config = stream(&json!({"allow_batched": true, "max_msg_size": 1000}));
    api(&raw(&server).await, "STREAM.CREATE.EVENTBUS", &config).await;
    let failed = Arc::new(Mutex::new(BTreeSet::new()));
    let handler = failed.clone();
    let bus = registry()
        .builder(&format!("{}?fast_ingest=always", server.url()))
        .on_publish_failure(move |failure| {
            let kind = failure.error().kind();
            assert!(kind == ErrorKind::TooLarge && !failure.error().is_ambiguous(), "{failure}");
            handler.lock().unwrap().insert(failure.envelope().id());
        })
        .connect()
        .await
        .unwrap();
    publish(&bus, 0).await.unwrap();
    let mut refused = BTreeSet::new();
    for n in 1..=300 {
        let mut envelope = event("k", n);
        if n % 100 == 50 {
            envelope = envelope.with_header("padding", "x".repeat(1000));
            refused.insert(envelope.id());
        }
        bus.publish(&TOPIC, envelope).await.unwrap();
    }
    bus.flush().await.unwrap();
    assert_eq!(*failed.lock().unwrap(), refused);
    let expected: Vec<_> = (0..=300).filter(|n| n % 100 != 50).collect();
    assert_eq!(stored(server.url(), 300).await, expected);
    bus.close().await.unwrap();
}

/// What the server has not read of an old connection is refused, because its batch has ended; or
/// was all read before, and then the answer may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_stale_tail_of_a_batch_is_refused() {
    let server = Nats::start().await.unwrap();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(60);
    let parameters = "fast_ingest=always&ping_interval=200ms&connect_timeout=1s";
    let bus = connect_with(&format!("{}?{parameters}", server.url()), config).await;
    publish(&bus, 0).await.unwrap();
    // Frozen in the middle of a stream of messages, so that a batch is open.
    let writer = tokio::spawn({
        let bus = bus.clone();
        async move {
            for n in 1..=20_000 {
                bus.publish(&TOPIC, event("k", n)).await.unwrap();
            }
        }
    });
    until("it flows", async || bus.stats().acknowledged > 1000).await;
    server.pause().unwrap();
    let lost = async || bus.health().await.status == HealthStatus::Unavailable;
    until("the silence is noticed", lost).await;
    server.resume().unwrap();
    writer.await.unwrap();
    bus.flush().await.unwrap();
    publish(&bus, 20_001).await.unwrap();
    in_order_and_complete(&bus, &stored(server.url(), 20_001).await);
    bus.close().await.unwrap();
}

/// One writer's numbers are stored once each and in their order, and all that were acknowledged.
fn in_order_and_complete(bus: &Arc<dyn EventBus>, stored: &[u64]) {
    let disorder = stored.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(disorder, None, "stored out of order, or twice");
    let stats = bus.stats();
    assert!(stored.len() as u64 >= stats.acknowledged, "{} of {stats:?}", stored.len());
}

/// Its leader dies, and the connection, which is to another server, does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_survives_its_leader() {
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(30);
    config.retry_max_elapsed = Duration::from_secs(30);
    let scene = Led::start("fast_ingest=always", config).await;
    let bus = scene.bus.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (bus, stop) = (bus.clone(), stop.clone());
        async move {
            let mut n = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                bus.publish(&TOPIC, event("k", n)).await.unwrap();
            }
            n
        }
    });
    let acknowledged = || bus.stats().acknowledged;
    let flows = async |more: u64| {
        let goal = acknowledged() + more;
        // It may be slow, and must not stop.
        while acknowledged() <= goal {
            let before = acknowledged();
            until("it flows", async || acknowledged() > before).await;
        }
    };
    flows(2000).await;
    scene.kill_leader();
    flows(10_000).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let last = writer.await.unwrap();
    let _ = bus.flush().await;
    publish(&bus, last + 1).await.unwrap();
    in_order_and_complete(&bus, &stored(scene.url(), last + 1).await);
    bus.close().await.unwrap();
}
