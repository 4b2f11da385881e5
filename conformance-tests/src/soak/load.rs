//! The load that is there all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventbus_conformance::{Context, Result, within};
use eventbus_core::{
    Envelope, EventBus, EventBusExt, Ordering as DeliveryOrder, SubscribeOptions, Subscription,
    Topic,
};
use tokio::{sync::watch, task::JoinHandle};

/// How long a writer rests between two publishes.
const REST: Duration = Duration::from_millis(2);
const BATCH: u64 = 16;

/// Four writers in one mode each, a group of two that keeps the order of keys, and a reader of
/// everything; all on one bus.
pub(super) struct Load {
    bus: Arc<dyn EventBus>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result>>,
    operations: Arc<AtomicU64>,
}

impl Load {
    pub(super) async fn start(context: &Context) -> Result<Self> {
        let bus = context.bus().await?;
        let topic = context.topic("load")?;
        bus.ensure_topic(&topic).await?;
        let (stop, stopped) = watch::channel(false);
        let operations = Arc::<AtomicU64>::default();
        let mut tasks = Vec::new();
        let group = || context.group("load").ordering(DeliveryOrder::PerKey);
        for options in [group(), group(), SubscribeOptions::new()] {
            let subscription = bus.subscribe(&topic.filter(), options).await?;
            tasks.push(tokio::spawn(read(subscription, operations.clone())));
        }
        for mode in 0..4 {
            let (bus, topic) = (bus.clone(), topic.clone());
            let (stopped, operations) = (stopped.clone(), operations.clone());
            tasks.push(tokio::spawn(write(bus, topic, mode, stopped, operations)));
        }
        Ok(Self { bus, stop, tasks, operations })
    }

    /// How much was published and delivered.
    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(super) async fn finish(self) -> Result {
        self.stop.send_replace(true);
        within("the close of the load", self.bus.close()).await??;
        for task in self.tasks {
            within("a part of the load", task).await???;
        }
        Ok(())
    }
}

async fn write(
    bus: Arc<dyn EventBus>,
    topic: Topic,
    mode: u64,
    stopped: watch::Receiver<bool>,
    operations: Arc<AtomicU64>,
) -> Result {
    let envelope = |n: u64| Envelope::new("soak", vec![b'x'; 200]).key(format!("{}", n % 32));
    for n in 0.. {
        if *stopped.borrow() {
            break;
        }
        let published = match mode {
            0 => bus.publish(&topic, envelope(n)).await.map_err(eventbus_core::Error::from),
            1 => match bus.publish_with_receipt(&topic, envelope(n)).await {
                // Every second receipt is dropped.
                Ok(receipt) if n % 2 == 0 => receipt.await.map(drop).map_err(Into::into),
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            },
            2 => bus.publish_sync(&topic, envelope(n)).await.map(drop).map_err(Into::into),
            _ => {
                let batch = (0..BATCH).map(envelope).collect();
                bus.publish_batch(&topic, batch).await.map(drop).map_err(Into::into)
            }
        };
        match published {
            Ok(()) => operations.fetch_add(if mode == 3 { BATCH } else { 1 }, Ordering::Relaxed),
            // The close has begun.
            Err(_) if *stopped.borrow() => break,
            Err(error) => return Err(error.into()),
        };
        tokio::time::sleep(REST * if mode == 3 { 8 } else { 1 }).await;
    }
    Ok(())
}

async fn read(mut subscription: Subscription, operations: Arc<AtomicU64>) -> Result {
    let mut count = 0_u64;
    while let Some(delivery) = subscription.try_next().await? {
        count += 1;
        operations.fetch_add(1, Ordering::Relaxed);
        match count % 100 {
            0 => delivery.nack(Duration::from_millis(10)).await?,
            50 => delivery.ack_confirmed().await?,
            _ => delivery.ack().await?,
        }
    }
    Ok(())
}
