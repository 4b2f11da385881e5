//! How many allocations a publish and a delivery cost, through `Arc<dyn EventBus>`.
//!
//! On one thread and in memory, so that all of them are counted and none is of others. The
//! envelopes are made before.
//!
//! `cargo run --release -p eventbus-bench --example allocations`

use std::{alloc::System, error::Error as StdError, sync::Arc};

use eventbus_core::{Envelope, EventBus, EventBusExt, Registry, Start, SubscribeOptions, Topic};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPIC: Topic = Topic::from_static("bench.allocations");
const WARM_UP: usize = 2_000;
const MESSAGES: usize = 20_000;

type Outcome<T> = Result<T, Box<dyn StdError>>;

fn envelopes(count: usize) -> Vec<Envelope> {
    (0..count)
        .map(|at| Envelope::new("bench.message", vec![0; 256]).key(format!("key-{}", at % 64)))
        .collect()
}

fn show(what: &str, stats: Stats, count: usize) {
    let each = |total: usize| total as f64 / count as f64;
    println!(
        "{what:34} {:>7.2} {:>9.2} {:>9.0}",
        each(stats.allocations),
        each(stats.reallocations),
        each(stats.bytes_allocated),
    );
}

async fn publish(bus: &Arc<dyn EventBus>, count: usize) -> Outcome<()> {
    let envelopes = envelopes(count);
    let region = Region::new(ALLOCATOR);
    for envelope in envelopes {
        bus.publish(&TOPIC, envelope).await?;
    }
    bus.flush().await?;
    if count == MESSAGES {
        show("publish", region.change(), count);
    }
    Ok(())
}

async fn with_receipt(bus: &Arc<dyn EventBus>) -> Outcome<()> {
    let envelopes = envelopes(MESSAGES);
    let region = Region::new(ALLOCATOR);
    for envelope in envelopes {
        bus.publish_sync(&TOPIC, envelope).await?;
    }
    show("publish_sync", region.change(), MESSAGES);
    Ok(())
}

async fn batch(bus: &Arc<dyn EventBus>) -> Outcome<()> {
    let envelopes = envelopes(MESSAGES);
    let region = Region::new(ALLOCATOR);
    bus.publish_batch(&TOPIC, envelopes).await?;
    show("publish_batch, of 20 000", region.change(), MESSAGES);
    Ok(())
}

async fn deliver(bus: &Arc<dyn EventBus>, what: &str, options: SubscribeOptions) -> Outcome<()> {
    let options = options.start(Start::Earliest);
    let mut subscription = bus.subscribe(&TOPIC.filter(), options).await?;
    for _ in 0..WARM_UP {
        let delivery = subscription.try_next().await?.ok_or("the subscription ended")?;
        delivery.ack().await?;
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..MESSAGES {
        let delivery = subscription.try_next().await?.ok_or("the subscription ended")?;
        delivery.ack().await?;
    }
    show(what, region.change(), MESSAGES);
    Ok(())
}

async fn measure() -> Outcome<()> {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    let bus = registry.builder("memory://?retention_bytes=1073741824").connect().await?;
    println!("each, over {MESSAGES} messages            allocs  reallocs     bytes");
    publish(&bus, WARM_UP).await?;
    publish(&bus, MESSAGES).await?;
    with_receipt(&bus).await?;
    batch(&bus).await?;
    deliver(&bus, "deliver and ack, no group", SubscribeOptions::new()).await?;
    deliver(&bus, "deliver and ack, in a group", SubscribeOptions::group("bench")).await?;
    Ok(bus.close().await?)
}

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}
