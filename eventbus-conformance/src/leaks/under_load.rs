//! The number of tasks does not depend on the load.

use std::sync::Arc;

use eventbus_core::{EventBus, EventBusExt, SubscribeOptions, Subscription};

use super::footprint::tasks;
use crate::{
    Context, Request, Result,
    steps::{ack_all_of, event, next, publish_all, ready_topic},
    wait::LONG,
    within,
};

/// So many more tasks than an idle bus may there be under any load.
const MORE: usize = 8;
const LOAD: u64 = 10_000;

fn large_window(request: &mut Request) {
    request.config.max_in_flight = LOAD as usize + 1;
    request.config.ack_timeout = LONG;
}

/// A connected bus with two subscriptions, and how many tasks that makes.
async fn idle(ctx: &Context) -> Result<(Arc<dyn EventBus>, [Subscription; 2], usize)> {
    let bus = ctx.bus_with(large_window).await?;
    let topic = ready_topic(ctx, &bus, "load").await?;
    let group = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let reader = bus.subscribe(&topic.filter(), SubscribeOptions::new()).await?;
    let tasks = tasks();
    Ok((bus, [group, reader], tasks))
}

async fn publish_load(ctx: &Context, bus: &Arc<dyn EventBus>) -> Result<usize> {
    let topic = ctx.topic("load")?;
    let mut peak = 0;
    for n in 0..LOAD {
        bus.publish(&topic, event(n)).await?;
        if n % 16 == 0 {
            peak = peak.max(tasks());
        }
    }
    Ok(peak.max(tasks()))
}

fn assert_few(idle: usize, peak: usize) {
    assert!(peak <= idle + MORE, "{peak} tasks under load, {idle} when idle");
}

/// Ten thousand envelopes published as fast as it goes take no task each.
pub async fn tasks_do_not_grow_with_ten_thousand_in_flight(ctx: Context) -> Result {
    let (bus, _subscriptions, idle) = idle(&ctx).await?;
    let peak = publish_load(&ctx, &bus).await?;
    assert_few(idle, peak);
    within("the flush", bus.flush()).await??;
    Ok(())
}

/// Nor do ten thousand that are all unanswered at once.
pub async fn tasks_do_not_grow_with_ten_thousand_unanswered(ctx: Context) -> Result {
    let (bus, _subscriptions, idle) = idle(&ctx).await?;
    let held = ctx.hold_acks(&bus)?;
    let peak = publish_load(&ctx, &bus).await?;
    assert_eq!(bus.stats().in_flight as u64, LOAD);
    assert_few(idle, peak);
    held.release();
    within("the flush", bus.flush()).await??;
    Ok(())
}

/// Nor do five thousand deliveries that are held at once.
pub async fn tasks_do_not_grow_with_deliveries(ctx: Context) -> Result {
    const HELD: usize = 5_000;
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "load").await?;
    let options = ctx.group("all").max_in_flight(HELD + 1).ack_wait(LONG);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let idle = tasks();
    publish_all(&bus, &topic, (1..HELD as u64).map(event)).await?;
    let mut held = Vec::new();
    let mut peak = 0;
    for _ in 0..HELD {
        held.push(next(&mut subscription).await?);
        peak = peak.max(tasks());
    }
    assert_few(idle, peak);
    ack_all_of(held).await
}
