//! Closing a bus while deliveries are held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventbus_core::{Delivery, ErrorKind, EventBus, Subscription};

use crate::{
    Context, PATIENCE, Request, Result,
    steps::{event, next, number, publish_all, to_end},
    wait::{LONG, is_pending},
    within,
};

/// A bus, its subscription, and one delivery that its application holds.
async fn holding(
    ctx: &Context,
    ack_wait: Duration,
    adapt: impl FnOnce(&mut Request),
) -> Result<(Arc<dyn EventBus>, Subscription, Delivery)> {
    let bus = ctx.bus_with(adapt).await?;
    let topic = ctx.topic("held")?;
    let options = ctx.group("all").ack_wait(ack_wait);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [event(1)]).await?;
    let delivery = next(&mut subscription).await?;
    Ok((bus, subscription, delivery))
}

/// Closing ends the subscriptions and waits for what was handed out to be settled.
pub async fn close_waits_for_what_is_handed_out(ctx: Context) -> Result {
    let (bus, mut subscription, held) =
        holding(&ctx, LONG, |r| r.config.close_timeout = LONG).await?;
    let mut close = bus.close();
    assert!(is_pending(&mut close), "a delivery is held");
    assert!(to_end(&mut subscription).await?.is_empty());
    assert!(is_pending(&mut close), "a delivery is held");
    held.ack().await?;
    within("the close", close).await??;
    Ok(())
}

/// It does not wait for deliveries whose `ack_wait` is over: they come again anyway.
pub async fn close_does_not_wait_for_expired_deliveries(ctx: Context) -> Result {
    let wait = Duration::from_millis(500);
    let (bus, _subscription, held) = holding(&ctx, wait, |r| r.config.close_timeout = LONG).await?;
    within("the close", bus.close()).await??;
    drop(held);
    Ok(())
}

/// It does not wait for deliveries that were dropped.
pub async fn close_does_not_wait_for_dropped_deliveries(ctx: Context) -> Result {
    let (bus, _subscription, held) = holding(&ctx, LONG, |r| r.config.close_timeout = LONG).await?;
    drop(held);
    within("the close", bus.close()).await??;
    Ok(())
}

/// After `close_timeout` it gives up on deliveries that are still held.
pub async fn close_gives_up_on_held_deliveries_in_time(ctx: Context) -> Result {
    const TIME: Duration = Duration::from_millis(500);
    let (bus, _subscription, held) = holding(&ctx, LONG, |r| r.config.close_timeout = TIME).await?;
    let start = Instant::now();
    within("the close", bus.close()).await??;
    assert!(start.elapsed() >= TIME, "it gave up after {:?}", start.elapsed());
    assert!(start.elapsed() < PATIENCE);
    drop(held);
    Ok(())
}

/// Settling after the bus was closed fails with `Closed` and gives the delivery back.
pub async fn settling_after_close_says_closed_and_gives_it_back(ctx: Context) -> Result {
    const TIME: Duration = Duration::from_millis(200);
    let (bus, _subscription, held) = holding(&ctx, LONG, |r| r.config.close_timeout = TIME).await?;
    within("the close", bus.close()).await??;
    assert_eq!(held.extend().await.expect_err("closed").kind(), ErrorKind::Closed);
    let refused = held.ack().await.expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::Closed);
    let (_, held) = refused.into_parts();
    assert_eq!(number(held.envelope()), 1);
    let refused = held.nack(Duration::ZERO).await.expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::Closed);
    Ok(())
}
