//! Where a subscription starts.

use eventbus_core::{EventBusExt, Start, SubscribeOptions};

use crate::{
    Context, Result,
    steps::{event, next, number, publish_numbers, take_numbers, take_until},
    within,
};

/// A new group gets what was published before it existed.
pub async fn group_starts_at_the_earliest(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("started")?;
    publish_numbers(&bus, &topic, 0..5).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    assert_eq!(take_numbers(&mut subscription, 5).await?, [0, 1, 2, 3, 4]);
    Ok(())
}

/// A reader without a group gets what is published from then on.
pub async fn reader_starts_at_the_latest(ctx: Context) -> Result {
    starts_at_the_latest(ctx, SubscribeOptions::new()).await
}

/// So does a new group that asks for it.
pub async fn group_may_start_at_the_latest(ctx: Context) -> Result {
    let options = ctx.group("all").start(Start::Latest);
    starts_at_the_latest(ctx, options).await
}

async fn starts_at_the_latest(ctx: Context, options: SubscribeOptions) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("started")?;
    publish_numbers(&bus, &topic, 0..5).await?;
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_numbers(&bus, &topic, 5..8).await?;
    assert_eq!(take_until(&mut subscription, 7).await?, [5, 6, 7]);
    Ok(())
}

/// A reader without a group gets everything that is there when it asks for it.
pub async fn reader_may_start_at_the_earliest(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("started")?;
    publish_numbers(&bus, &topic, 0..5).await?;
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_numbers(&bus, &topic, 5..8).await?;
    assert_eq!(take_until(&mut subscription, 7).await?, (0..8).collect::<Vec<_>>());
    Ok(())
}

/// A group that has a position goes on from there, whatever start is asked for.
pub async fn start_counts_only_without_a_position(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("started")?;
    publish_numbers(&bus, &topic, 0..9).await?;
    let starts = [Start::Earliest, Start::Latest, Start::Earliest];
    for (from, start) in (0..).step_by(3).zip(starts) {
        let member = ctx.bus().await?;
        // Nothing but these three may be on its way to the member when it leaves.
        let options = ctx.group("all").start(start).max_in_flight(1);
        let mut subscription = member.subscribe(&topic.filter(), options).await?;
        for n in from..from + 3 {
            let delivery = next(&mut subscription).await?;
            assert_eq!(number(delivery.envelope()), n);
            within("the confirmation", delivery.ack_confirmed()).await??;
        }
        within("the close", member.close()).await??;
    }
    Ok(())
}

/// Once `subscribe` has returned, everything is delivered, whoever publishes it.
pub async fn published_right_after_subscribing_is_delivered(ctx: Context) -> Result {
    let (bus, other) = (ctx.bus().await?, ctx.bus().await?);
    let topic = ctx.topic("at_once")?;
    publish_numbers(&bus, &topic, [1_000]).await?;
    for n in 0..15 {
        let options = if n % 2 == 0 {
            SubscribeOptions::new()
        } else {
            ctx.group(&format!("g{n}")).start(Start::Latest)
        };
        let mut subscription = bus.subscribe(&topic.filter(), options).await?;
        within("the receipt", other.publish_sync(&topic, event(n))).await??;
        let delivery = next(&mut subscription).await?;
        assert_eq!(number(delivery.envelope()), n);
        delivery.ack().await?;
    }
    Ok(())
}
