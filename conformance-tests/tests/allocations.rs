//! What a message may cost in allocations and in copies of its payload; `docs/performance.md`
//! says where each comes from.
//!
//! They are counted, not timed, so a busy machine changes nothing. The envelopes are made
//! before. `cargo test -p conformance-tests --test allocations -- --nocapture` shows the counts.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    alloc::System,
    error::Error as StdError,
    hint::black_box,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eventbus_core::{
    Envelope, EventBus, EventBusExt, Registry, Start, SubscribeOptions, Subscription, Topic,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use test_brokers::discover;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPIC: Topic = Topic::from_static("allocations.made");
const WARM_UP: usize = 5_000;
const MESSAGES: usize = 10_000;
/// So large that all else that a message allocates is far less.
const PAYLOAD: usize = 3072;
/// So small that many share a block of memory.
const SMALL: usize = 256;

type Outcome<T = ()> = Result<T, Box<dyn StdError>>;

/// What a message may cost.
#[derive(Debug, Clone, Copy)]
struct Budget {
    allocations: f64,
    /// Of the payload, into memory that is allocated for it; `None` for small ones, beside which
    /// all else that is allocated shows.
    copies: Option<usize>,
}

const fn budget(allocations: f64, copies: usize) -> Budget {
    Budget { allocations, copies: Some(copies) }
}

const fn small(allocations: f64) -> Budget {
    Budget { allocations, copies: None }
}

/// Does something about `MESSAGES` messages, within the budget.
async fn within(budget: Budget, what: &str, work: impl Future<Output = Outcome>) -> Outcome {
    let region = Region::new(ALLOCATOR);
    work.await?;
    let spent = region.change();
    let allocations = (spent.allocations + spent.reallocations) as f64 / MESSAGES as f64;
    let bytes = spent.bytes_allocated / MESSAGES;
    println!("{what:36} {allocations:6.2} allocations {bytes:6} bytes, allowed: {budget:?}");
    assert!(allocations <= budget.allocations, "{what}: {allocations} allocations, {budget:?}");
    if let Some(allowed) = budget.copies {
        let copies = bytes as f64 / PAYLOAD as f64;
        assert!(copies < allowed as f64 + 0.75, "{what}: {copies} copies, {budget:?}");
    }
    Ok(())
}

fn envelopes(count: usize, payload: usize) -> Vec<Envelope> {
    let envelope = |at| Envelope::new("order.created", vec![7; payload]).key(format!("key-{at}"));
    (0..count).map(|at| envelope(at % 64)).collect()
}

async fn publish(bus: &dyn EventBus, envelopes: Vec<Envelope>) -> Outcome {
    for envelope in envelopes {
        bus.publish(&TOPIC, envelope).await?;
    }
    Ok(bus.flush().await?)
}

async fn publish_sync(bus: &dyn EventBus, envelopes: Vec<Envelope>) -> Outcome {
    for envelope in envelopes {
        bus.publish_sync(&TOPIC, envelope).await?;
    }
    Ok(())
}

async fn publish_batch(bus: &dyn EventBus, envelopes: Vec<Envelope>) -> Outcome {
    bus.publish_batch(&TOPIC, envelopes).await?;
    Ok(())
}

async fn acknowledge(subscription: &mut Subscription, count: usize) -> Outcome {
    for _ in 0..count {
        let delivery = subscription.try_next().await?.ok_or("the subscription ended")?;
        delivery.ack().await?;
    }
    Ok(())
}

async fn connect(url: &str) -> Outcome<Arc<dyn EventBus>> {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    eventbus_nats::register(&mut registry);
    eventbus_kafka::register(&mut registry);
    let bus = registry.builder(url).connect().await?;
    bus.ensure_topic(&TOPIC).await?;
    publish(&*bus, envelopes(WARM_UP, PAYLOAD)).await?;
    Ok(bus)
}

/// Reads from the start, what the warm-up left first.
async fn deliver(
    bus: &dyn EventBus,
    budget: Budget,
    what: &str,
    options: SubscribeOptions,
) -> Outcome {
    let mut subscription = bus.subscribe(&TOPIC.filter(), options.start(Start::Earliest)).await?;
    acknowledge(&mut subscription, WARM_UP).await?;
    within(budget, what, acknowledge(&mut subscription, MESSAGES)).await
}

/// The counts are those of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On one thread, so that what a test waits for is all done when it goes on.
fn run(test: impl Future<Output = Outcome>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test).unwrap();
}

#[test]
fn the_wire_format() {
    let _alone = alone();
    run(async {
        let made = envelopes(MESSAGES, PAYLOAD);
        let mut encoded = Vec::with_capacity(MESSAGES);
        within(budget(1.05, 1), "encode", async {
            encoded.extend(made.iter().map(Envelope::to_bytes));
            Ok(())
        })
        .await?;
        within(budget(0.05, 0), "decode", async {
            for bytes in encoded.drain(..) {
                black_box(Envelope::from_bytes(bytes)?);
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn memory() {
    let _alone = alone();
    run(async {
        let bus = connect("memory://?retention_bytes=1073741824").await?;
        let bus = &*bus;
        let made = || envelopes(MESSAGES, PAYLOAD);
        within(budget(3.05, 1), "memory publish", publish(bus, made())).await?;
        within(budget(5.05, 1), "memory publish_sync", publish_sync(bus, made())).await?;
        within(budget(3.05, 1), "memory publish_batch", publish_batch(bus, made())).await?;
        let group = SubscribeOptions::group("counted");
        deliver(bus, budget(0.05, 0), "memory deliver and ack", SubscribeOptions::new()).await?;
        deliver(bus, budget(0.05, 0), "memory deliver and ack in a group", group).await?;
        publish_small(bus, "memory", [1.1, 1.1]).await?;
        Ok(bus.close().await?)
    });
}

/// Small messages, whose bytes lie in blocks: one by one, and in a batch.
async fn publish_small(bus: &dyn EventBus, name: &str, [one, batch]: [f64; 2]) -> Outcome {
    let made = envelopes(MESSAGES, SMALL);
    within(small(one), &format!("{name} publish, small"), publish(bus, made)).await?;
    let made = envelopes(MESSAGES, SMALL);
    within(small(batch), &format!("{name} publish_batch, small"), publish_batch(bus, made)).await
}

/// Publishing and consuming on a broker.
async fn on(
    name: &str,
    url: &str,
    publishing: Budget,
    delivering: Budget,
    publishing_small: [f64; 2],
) -> Outcome {
    let bus = connect(url).await?;
    let bus = &*bus;
    let made = envelopes(MESSAGES, PAYLOAD);
    within(publishing, &format!("{name} publish"), publish(bus, made)).await?;
    // There is one future for all of a batch.
    let batch = Budget { allocations: publishing.allocations - 1.0, ..publishing };
    let made = envelopes(MESSAGES, PAYLOAD);
    within(batch, &format!("{name} publish_batch"), publish_batch(bus, made)).await?;
    let group = SubscribeOptions::group("counted");
    deliver(bus, delivering, &format!("{name} deliver and ack"), group).await?;
    publish_small(bus, name, publishing_small).await?;
    Ok(bus.close().await?)
}

#[test]
fn nats() {
    let _alone = alone();
    run(async {
        let server = discover::nats().await?;
        on("nats", server.url(), budget(4.9, 1), budget(4.2, 1), [2.5, 1.0]).await
    });
}

#[test]
fn kafka() {
    let _alone = alone();
    run(async {
        let broker = discover::kafka().await?;
        on("kafka", broker.url(), budget(3.9, 1), budget(2.3, 1), [1.9, 0.9]).await
    });
}
