//! Stopping a subscription.

use std::collections::HashSet;

use crate::{
    Context, Result,
    steps::{ack_all_of, event, keyed, next, number, publish_all, take, take_until, to_end},
    wait::LONG,
};

/// A stopped subscription ends, also for who waits for its next delivery, and stopping
/// again is harmless.
pub async fn stop_ends_the_stream(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("stopped")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let stopper = subscription.stopper();
    let waiting = tokio::spawn(async move {
        let rest = to_end(&mut subscription).await?;
        Result::<_>::Ok((rest.len(), subscription.next().await.is_none()))
    });
    tokio::task::yield_now().await;
    stopper.stop();
    stopper.stop();
    assert_eq!(waiting.await??, (0, true));
    Ok(())
}

/// What a stopped member had not handed out goes to the others, long before its `ack_wait`.
pub async fn stop_releases_what_was_not_handed_out(ctx: Context) -> Result {
    releases_the_rest(ctx, true).await
}

/// So does what a dropped member had not handed out.
pub async fn dropped_subscription_releases_what_was_not_handed_out(ctx: Context) -> Result {
    releases_the_rest(ctx, false).await
}

async fn releases_the_rest(ctx: Context, stop: bool) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("released")?;
    let options = ctx.group("all").ack_wait(LONG);
    let mut leaving = bus.subscribe(&topic.filter(), options.clone()).await?;
    publish_all(&bus, &topic, (0..20).map(event)).await?;
    let held = next(&mut leaving).await?;
    if stop {
        leaving.stopper().stop();
        assert!(to_end(&mut leaving).await?.is_empty(), "handed out after the stop");
    } else {
        drop(leaving);
    }
    let mut staying = bus.subscribe(&topic.filter(), options).await?;
    let rest = take(&mut staying, 19).await?;
    let rest: HashSet<_> = rest.iter().map(number).collect();
    assert!(!rest.contains(&number(held.envelope())), "it is still held");
    held.ack().await?;
    Ok(())
}

/// What was handed out before the stop can be settled after it, and counts.
pub async fn handed_out_stays_settleable_after_a_stop(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("stopped")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, (1..=3).map(|n| keyed("k", n))).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut subscription).await?);
    }
    subscription.stopper().stop();
    to_end(&mut subscription).await?;
    held[0].extend().await?;
    ack_all_of(held).await?;
    drop(subscription);
    let mut next_member = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, [keyed("k", 4)]).await?;
    assert_eq!(take_until(&mut next_member, 4).await?, [4]);
    Ok(())
}
