//! Nothing is left after a bus is gone, however it went.

use std::{sync::Arc, time::Duration};

use eventbus_core::{EventBus, EventBusExt, SubscribeOptions};

use super::footprint::{Footprint, tasks};
use crate::{
    Context, Result,
    steps::{event, keyed, next, publish_all, ready_topic, take},
    wait::{LONG, poll_once},
    within,
};

/// Everything once: modes of publishing, a group, a reader, redelivery, a dead letter.
async fn use_everything(ctx: &Context, bus: &Arc<dyn EventBus>) -> Result {
    let (topic, dead) = (ctx.topic("used")?, ctx.topic("dead")?);
    // What was on its way to a bus that was dropped comes again after that time.
    let options = ctx.group("all").dead_letter(dead).ack_wait(Duration::from_secs(5));
    let mut group = bus.subscribe(&topic.filter(), options).await?;
    let mut reader = bus.subscribe(&ctx.filter(">")?, SubscribeOptions::new()).await?;
    publish_all(bus, &topic, (0..20).map(|n| keyed("k", n))).await?;
    within("a receipt", bus.publish_sync(&topic, keyed("k", 20))).await??;
    within("a batch", bus.publish_batch(&topic, vec![keyed("k", 21)])).await??;
    next(&mut group).await?.nack(Duration::ZERO).await?;
    within("a dead letter", next(&mut group).await?.reject("no")).await??;
    take(&mut group, 20).await?;
    take(&mut reader, 20).await?;
    Ok(())
}

/// What there is without a bus, after one has come and gone: what is made once per process,
/// or with the broker, does not count.
async fn before(ctx: &Context) -> Result<Footprint> {
    let tasks = tasks();
    let bus = ctx.bus().await?;
    use_everything(ctx, &bus).await?;
    within("the close", bus.close()).await??;
    drop(bus);
    Footprint::at_rest(tasks).await
}

/// After `close` neither task nor descriptor nor thread is left, though the handle of the
/// bus and of its subscription still exist.
pub async fn close_leaves_nothing(ctx: Context) -> Result {
    let before = before(&ctx).await?;
    let bus = ctx.bus().await?;
    use_everything(&ctx, &bus).await?;
    let subscription = bus.subscribe(&ctx.filter(">")?, SubscribeOptions::new()).await?;
    within("the close", bus.close()).await??;
    before.is_restored().await?;
    drop((subscription, bus));
    before.is_restored().await
}

/// Nor when envelopes were in flight and a delivery was held, once the broker answers again.
pub async fn close_with_messages_in_flight_leaves_nothing(ctx: Context) -> Result {
    close_in_flight(ctx, true).await
}

/// Nor while the broker does not answer.
pub async fn close_without_answers_leaves_nothing(ctx: Context) -> Result {
    close_in_flight(ctx, false).await
}

async fn close_in_flight(ctx: Context, answered: bool) -> Result {
    let before = before(&ctx).await?;
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.config.close_timeout = Duration::from_millis(300);
            r.on_failure = Some(Arc::new(|_| {}));
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "in_flight").await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let held = next(&mut subscription).await?;
    let acks = ctx.hold_acks(&bus)?;
    for n in 0..100 {
        bus.publish(&topic, event(n)).await?;
    }
    let receipt = bus.publish_with_receipt(&topic, event(100)).await?;
    let closed = within("the close", bus.close()).await?;
    assert!(closed.is_err(), "a hundred are unanswered");
    // Kept to the end, or released now.
    let _acks = (!answered).then_some(acks);
    before.is_restored().await?;
    drop((held, subscription, receipt, bus));
    before.is_restored().await
}

/// Nor after a drop without a close.
pub async fn drop_leaves_nothing(ctx: Context) -> Result {
    let before = before(&ctx).await?;
    for _ in 0..3 {
        let bus = ctx.bus().await?;
        use_everything(&ctx, &bus).await?;
        let subscription = bus.subscribe(&ctx.filter(">")?, SubscribeOptions::new()).await?;
        let topic = ctx.topic("used")?;
        for n in 0..100 {
            bus.publish(&topic, event(n)).await?;
        }
        drop(bus);
        drop(subscription);
    }
    before.is_restored().await
}

/// Nor after futures of every kind were dropped half-way.
pub async fn cancelled_futures_leave_nothing(ctx: Context) -> Result {
    let before = before(&ctx).await?;
    for _ in 0..20 {
        poll_once(ctx.bus());
    }
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "cancelled").await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    for n in 0..20 {
        poll_once(bus.publish(&topic, event(n)));
        poll_once(bus.publish_sync(&topic, event(n)));
        poll_once(bus.publish_batch(&topic, vec![event(n), event(n)]));
        poll_once(bus.subscribe(&topic.filter(), SubscribeOptions::new()));
        poll_once(bus.flush());
        poll_once(bus.health());
        poll_once(subscription.next());
    }
    let delivery = next(&mut subscription).await?;
    poll_once(delivery.ack_confirmed());
    poll_once(bus.close());
    within("the close", bus.close()).await??;
    drop((subscription, bus));
    before.is_restored().await
}

/// Nor after attempts to connect that failed.
pub async fn failed_connects_leave_nothing(ctx: Context) -> Result {
    let connected = within("the failure", ctx.harness().connect_in_vain()).await?;
    assert!(connected.is_err(), "it connected");
    let before = before(&ctx).await?;
    for _ in 0..10 {
        let connected = within("the failure", ctx.harness().connect_in_vain()).await?;
        assert!(connected.is_err(), "it connected");
    }
    before.is_restored().await
}

/// Nor after a hundred rounds of connect, use and close.
pub async fn hundred_rounds_leave_nothing(ctx: Context) -> Result {
    let before = before(&ctx).await?;
    let topic = ctx.topic("rounds")?;
    for n in 0..100 {
        let bus = ctx.bus().await?;
        let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
        within("a receipt", bus.publish_sync(&topic, event(n))).await??;
        take(&mut subscription, 1).await?;
        within("the close", bus.close()).await??;
    }
    before.is_restored().await
}

/// Subscriptions that are dropped with much to come leave nothing, though their bus lives.
pub async fn subscriptions_dropped_mid_stream_leave_nothing(ctx: Context) -> Result {
    let _ = before(&ctx).await?;
    let bus = ctx.bus().await?;
    let topic = ctx.topic("dropped")?;
    publish_all(&bus, &topic, (0..500).map(event)).await?;
    let subscribe = async || {
        let options = SubscribeOptions::new().start(eventbus_core::Start::Earliest);
        let mut reader = bus.subscribe(&topic.filter(), options).await?;
        let mut group = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
        next(&mut reader).await?.ack().await?;
        drop(next(&mut group).await?);
        Result::<_>::Ok(())
    };
    subscribe().await?;
    let connected = Footprint::at_rest(usize::MAX).await?;
    for _ in 0..20 {
        subscribe().await?;
    }
    connected.is_restored().await?;
    within("the close", bus.close()).await??;
    Ok(())
}
