//! Dropping a bus without closing it.

use std::{collections::HashSet, sync::Arc};

use eventbus_core::{EventBus, EventBusExt, SubscribeOptions};

use crate::{
    Context, Failure, HeldAcks, Result, eventually,
    steps::{Failures, event, keyed, ready_topic, take_until},
    wait::LONG,
    within,
};

/// What a bus accepted before it was dropped is stored, or its handler got it.
pub async fn dropped_bus_accounts_for_everything(ctx: Context) -> Result {
    let failures = Failures::new();
    let other = ctx.bus().await?;
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ctx.topic("dropped")?;
    let everything = SubscribeOptions::new();
    let mut subscription = other.subscribe(&topic.filter(), everything).await?;
    for n in 0..200 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    drop(bus);
    within("the marker", other.publish_sync(&topic, keyed("k", 1_000))).await??;
    let mut accounted: HashSet<u64> =
        take_until(&mut subscription, 1_000).await?.into_iter().collect();
    accounted.extend(failures.numbers());
    let lost: Vec<_> = (0..200).filter(|n| !accounted.contains(n)).collect();
    assert!(lost.is_empty(), "neither stored nor reported: {lost:?}");
    Ok(())
}

/// A bus with ten unanswered envelopes and whoever gets its failures.
async fn ten_in_flight(ctx: &Context) -> Result<(Arc<dyn EventBus>, Failures, HeldAcks)> {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(ctx, &bus, "dropped").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=10 {
        bus.publish(&topic, event(n)).await?;
    }
    Ok((bus, failures, held))
}

fn assert_all_reported(failures: &Failures) {
    assert_eq!(failures.numbers(), (1..=10).collect::<Vec<_>>());
    let ambiguous = failures.all().iter().all(|f| f.error().is_ambiguous());
    assert!(ambiguous, "they were sent, so the outcome is unknown: {failures:?}");
}

/// Dropped within the runtime, a bus hands everything in flight to its handler.
pub async fn drop_reports_all_in_flight(ctx: Context) -> Result {
    let (bus, failures, _held) = ten_in_flight(&ctx).await?;
    drop(bus);
    assert_all_reported(&failures);
    Ok(())
}

/// Dropped on a thread that knows no runtime, too, and without blocking.
pub async fn drop_outside_a_runtime_reports_all_in_flight(ctx: Context) -> Result {
    let (bus, failures, _held) = ten_in_flight(&ctx).await?;
    let thread = std::thread::spawn(move || drop(bus));
    eventually("the drop to return", || thread.is_finished()).await?;
    thread.join().map_err(|_| Failure::new("the drop panicked"))?;
    assert_all_reported(&failures);
    Ok(())
}

/// Dropped after the runtime that it lived on, too.
pub async fn drop_after_the_runtime_reports_all_in_flight(ctx: Context) -> Result {
    // A broker that has to be started first is not what is waited for.
    ctx.bus().await?.close().await?;
    let thread = std::thread::spawn(move || -> Result<Failures> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(crate::leaks::POOL)
            .enable_all()
            .build()?;
        let (bus, failures, _held) = runtime.block_on(ten_in_flight(&ctx))?;
        drop(runtime);
        drop(bus);
        Ok(failures)
    });
    eventually("the drop to return", || thread.is_finished()).await?;
    let failures = thread.join().map_err(|_| Failure::new("it panicked"))??;
    assert_all_reported(&failures);
    Ok(())
}
