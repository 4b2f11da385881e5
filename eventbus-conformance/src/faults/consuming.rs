//! Subscriptions get over what happens to the broker.

use std::time::Duration;

use eventbus_core::Health;

use super::Fault;
use crate::{
    Context, Result, eventually,
    steps::{Member, health_becomes, next, number, publish_numbers, settle},
};

/// A member works on after the broker was killed and came back, by itself.
pub async fn group_goes_on_after_a_broker_restart(ctx: Context) -> Result {
    goes_on_after(ctx, Fault::Restart).await
}

/// A member works on after the broker was frozen for a while.
pub async fn group_goes_on_after_a_broker_pause(ctx: Context) -> Result {
    goes_on_after(ctx, Fault::Pause(Duration::from_secs(5))).await
}

async fn goes_on_after(ctx: Context, fault: Fault) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("worked_on")?;
    let member = Member::start(bus.subscribe(&topic.filter(), ctx.group("all")).await?);
    publish_numbers(&bus, &topic, 0..100).await?;
    let seen = |count: u64| {
        let seen = member.seen();
        (0..count).all(|n| seen.contains(&n))
    };
    eventually("the first hundred", || seen(100)).await?;
    fault.happen(&ctx).await?;
    let writer = ctx.bus().await?;
    publish_numbers(&writer, &topic, 100..200).await?;
    eventually("the second hundred", || seen(200)).await?;
    member.leave().await
}

/// What was in hand when the broker died comes again if it is not settled.
pub async fn unsettled_comes_again_after_a_broker_restart(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("in_hand")?;
    let options = ctx.group("all").ack_wait(Duration::from_secs(2));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_numbers(&bus, &topic, [1]).await?;
    let held = next(&mut subscription).await?;
    ctx.harness().restart_broker().await?;
    drop(held);
    let mut again = next(&mut subscription).await?;
    assert_eq!(number(again.envelope()), 1);
    while !settle(again.ack().await)? {
        again = next(&mut subscription).await?;
    }
    Ok(())
}

/// While the broker is frozen the health says so, in time, and afterwards that all is well.
pub async fn health_tells_that_the_broker_is_away(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    health_becomes(&bus, "healthy", Health::is_healthy).await?;
    ctx.harness().pause_broker().await?;
    let away = health_becomes(&bus, "worse", |health| !health.is_healthy()).await?;
    assert!(!away.problems.is_empty(), "it does not say what is wrong: {away:?}");
    ctx.harness().resume_broker().await?;
    health_becomes(&bus, "healthy again", Health::is_healthy).await?;
    Ok(())
}
