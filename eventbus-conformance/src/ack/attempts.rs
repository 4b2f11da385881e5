//! Counting attempts.

use std::time::Duration;

use eventbus_core::EventBusExt;

use crate::{
    Context, Result,
    steps::{event, next, settle},
    within,
};

/// Each attempt has the next number: after a nack, and after an expiry, and also for
/// another member of the group.
pub async fn attempts_grow(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("attempts")?;
    let options = ctx.group("all").ack_wait(Duration::from_secs(1));
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await?;
    within("the receipt", bus.publish_sync(&topic, event(1))).await??;
    let mut last = 0;
    for round in 0..6 {
        let delivery = next(&mut subscription).await?;
        assert!(delivery.attempt() > last, "{} after {last}", delivery.attempt());
        last = delivery.attempt();
        if round % 2 == 0 {
            settle(delivery.nack(Duration::ZERO).await)?;
        } else {
            drop(delivery);
        }
    }
    drop(subscription);
    let other = ctx.bus().await?;
    let mut subscription = other.subscribe(&topic.filter(), options).await?;
    let mut delivery = next(&mut subscription).await?;
    assert!(delivery.attempt() > last, "{} after {last}", delivery.attempt());
    while !settle(delivery.ack().await)? {
        delivery = next(&mut subscription).await?;
    }
    Ok(())
}
