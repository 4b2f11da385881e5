//! What was acknowledged is stored, whatever happens to the broker.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use eventbus_core::{EventBus, EventBusExt, Start, SubscribeOptions, Topic};

use super::Fault;
use crate::{
    Context, Result, eventually,
    steps::{key_of, keyed, next, number},
    within,
};

const WRITERS: usize = 4;
const MARKER: u64 = u64::MAX - 1;

/// A key and a counter.
type Value = (String, u64);

/// What writers have tried to publish, and what of that was acknowledged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<(HashSet<Value>, HashSet<Value>)>>);

impl Written {
    fn attempted(&self, value: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.insert(value);
    }

    fn acknowledged(&self, value: Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.insert(value);
    }

    fn both(&self) -> (HashSet<Value>, HashSet<Value>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }
}

/// Publishes one after the other; what fails is left out, not repeated.
async fn write(
    bus: Arc<dyn EventBus>,
    topic: Topic,
    key: String,
    written: Written,
    stop: Arc<AtomicBool>,
) -> Result {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        written.attempted((key.clone(), n));
        let outcome = within("a verdict", bus.publish_sync(&topic, keyed(&key, n))).await?;
        match outcome {
            Ok(_) => written.acknowledged((key.clone(), n)),
            // The broker is away: no reason to try a thousand times.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    // Everything of this key comes before its marker.
    loop {
        let marker = keyed(&key, MARKER);
        if within("a verdict", bus.publish_sync(&topic, marker)).await?.is_ok() {
            return Ok(());
        }
    }
}

/// Everything that is stored before the markers of all keys.
async fn read(bus: &Arc<dyn EventBus>, topic: &Topic) -> Result<HashSet<Value>> {
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let (mut read, mut markers) = (HashSet::new(), HashSet::new());
    while markers.len() < WRITERS {
        let delivery = next(&mut subscription).await?;
        let value = (key_of(delivery.envelope()), number(delivery.envelope()));
        delivery.ack().await?;
        if value.1 == MARKER {
            markers.insert(value.0);
        } else {
            read.insert(value);
        }
    }
    Ok(read)
}

/// The broker is killed twice while four writers publish: everything acknowledged can be
/// read, and nothing that nobody wrote.
pub async fn acknowledged_survives_broker_restarts(ctx: Context) -> Result {
    written_through(ctx, Fault::Restart).await
}

/// The broker is frozen twice for longer than the `ack_timeout`: so can it then.
pub async fn acknowledged_survives_broker_pauses(ctx: Context) -> Result {
    written_through(ctx, Fault::Pause(Duration::from_secs(3))).await
}

async fn written_through(ctx: Context, fault: Fault) -> Result {
    let bus = ctx.bus_with(|r| r.config.ack_timeout = Duration::from_secs(1)).await?;
    let topic = ctx.topic("written")?;
    let (written, stop) = (Written::default(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| {
            let (bus, topic) = (bus.clone(), topic.clone());
            let (written, stop) = (written.clone(), stop.clone());
            tokio::spawn(write(bus, topic, format!("writer-{n}"), written, stop))
        })
        .collect();
    for _ in 0..2 {
        let so_far = written.count();
        eventually("more to be written", || written.count() > so_far + 100).await?;
        fault.happen(&ctx).await?;
    }
    let so_far = written.count();
    eventually("more to be written", || written.count() > so_far + 100).await?;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        within("a writer", writer).await???;
    }
    let read = read(&ctx.bus().await?, &topic).await?;
    let (attempted, acknowledged) = written.both();
    let lost: Vec<_> = acknowledged.difference(&read).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    let unexpected: Vec<_> = read.difference(&attempted).collect();
    assert!(unexpected.is_empty(), "stored and never written: {unexpected:?}");
    Ok(())
}
