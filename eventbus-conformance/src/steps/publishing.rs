//! Publishing many, and watching a bus.

use std::{sync::Arc, time::Instant};

use eventbus_core::{Envelope, ErrorKind, EventBus, EventBusExt, Health, Topic};

use super::{event, keyed};
use crate::{Context, Failure, PATIENCE, Result, within};

/// Publishes asynchronously and waits until all is acknowledged.
pub(crate) async fn publish_all(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    envelopes: impl IntoIterator<Item = Envelope>,
) -> Result {
    let failed_before = bus.stats().failed;
    for envelope in envelopes {
        bus.publish(topic, envelope).await?;
    }
    within("the flush after publishing", bus.flush()).await??;
    // A flush is done when all have a verdict, whichever.
    match bus.stats().failed - failed_before {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} publishes to {topic} failed"))),
    }
}

/// Publishes events with these numbers and one key, so that they have one order.
pub(crate) async fn publish_numbers(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    numbers: impl IntoIterator<Item = u64>,
) -> Result {
    publish_all(bus, topic, numbers.into_iter().map(|n| keyed("one", n))).await
}

/// Publishes an event, again where no acknowledgement came: a broker that was frozen may not
/// answer for longer than `ack_timeout`. It may be stored more than once.
pub(crate) async fn publish_until_stored(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    envelope: Envelope,
) -> Result {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stored = within("a receipt", bus.publish_sync(topic, envelope.clone())).await?;
        match stored {
            Err(refused)
                if refused.error().kind() == ErrorKind::AckTimeout && Instant::now() < deadline => {
            }
            stored => return stored.map(drop).map_err(Into::into),
        }
    }
}

/// A topic that `bus` has published to: event 0, without a key. The next publish finds
/// everything ready and waits only for the window.
pub(crate) async fn ready_topic(
    ctx: &Context,
    bus: &Arc<dyn EventBus>,
    name: &str,
) -> Result<Topic> {
    let deadline = Instant::now() + PATIENCE;
    let mut topic = ctx.topic(name)?;
    for attempt in 1.. {
        // A broker that makes a topic may take longer than an `ack_timeout` that is meant to
        // be short; whether the event is stored then is unknown, so another topic is tried.
        match within("the first receipt", bus.publish_sync(&topic, event(0))).await? {
            Err(refused) if refused.error().kind() == ErrorKind::AckTimeout => {
                topic = ctx.topic(&format!("{name}-{attempt}"))?;
            }
            published => return published.map(|_| topic).map_err(Into::into),
        }
        if Instant::now() > deadline {
            break;
        }
    }
    Err(Failure::new("no topic became ready in time"))
}

/// Waits until the health of `bus` is as described.
pub(crate) async fn health_becomes(
    bus: &Arc<dyn EventBus>,
    what: &str,
    condition: impl Fn(&Health) -> bool,
) -> Result<Health> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = bus.health().await;
        if condition(&health) {
            return Ok(health);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("the health did not become {what}: {health:?}")));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
