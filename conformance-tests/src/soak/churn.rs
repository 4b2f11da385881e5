//! Buses and subscriptions that come and go.

use std::{sync::Arc, time::Duration};

use eventbus_conformance::{Context, Failure, Request, Result, within};
use eventbus_core::{Envelope, EventBus, EventBusExt, SubscribeOptions, Subscription, Topic};

const COUNT: u64 = 40;

/// One bus and all that it can be used for; every third one is dropped instead of closed.
pub(super) async fn one(context: &Context, round: u64) -> Result {
    let harness = context.harness();
    let bus = harness.connect(Request::default()).await?;
    // A few topics and groups, over and over: what is kept for each is not a leak.
    let (topic, dead) = (context.topic(&format!("churn.{}", round % 4))?, context.topic("dead")?);
    bus.ensure_topic(&topic).await?;
    let options = context.group("churn").max_attempts(2).dead_letter(dead);
    let mut group = bus.subscribe(&topic.filter(), options).await?;
    let left_open = bus.subscribe(&topic.filter(), SubscribeOptions::new()).await?;
    publish(&bus, &topic).await?;
    within("the churn to be worked off", work(&mut group)).await??;
    match round % 3 {
        0 => drop((group, left_open, bus)),
        1 => {
            within("a close", bus.close()).await??;
        }
        _ => {
            drop((group, left_open));
            within("a close", bus.close()).await??;
        }
    }
    Ok(())
}

async fn publish(bus: &Arc<dyn EventBus>, topic: &Topic) -> Result {
    let envelope = |n: u64| Envelope::new("soak", n.to_string()).key((n % 8).to_string());
    for n in 0..COUNT {
        bus.publish(topic, envelope(n)).await?;
    }
    // Receipts and batches that nobody waits for.
    drop(bus.publish_with_receipt(topic, envelope(COUNT)).await?);
    let batch = bus.publish_batch(topic, vec![envelope(COUNT + 1)]);
    let _ = tokio::time::timeout(Duration::ZERO, batch).await;
    within("a flush", bus.flush()).await??;
    Ok(())
}

async fn work(group: &mut Subscription) -> Result {
    for n in 0..COUNT {
        let Some(delivery) = group.try_next().await? else {
            return Err(Failure::new("the group ended"));
        };
        let settled = match n {
            7 => delivery.nack(Duration::ZERO).await,
            9 => delivery.reject("soaked").await,
            _ => delivery.ack().await,
        };
        settled?;
    }
    Ok(())
}
