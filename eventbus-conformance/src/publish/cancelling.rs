//! Futures that are dropped before they resolve.

use eventbus_core::{ErrorKind, EventBusExt};

use crate::{
    Context, Result,
    steps::{Failures, event, keyed, numbers, read_all, ready_topic},
    wait::{LONG, is_pending},
    within,
};

/// A publish that is cancelled while it waits for room was not accepted and is never stored.
pub async fn cancelled_publish_was_not_accepted(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 1;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "cancelled").await?;
    let held = ctx.hold_acks(&bus)?;
    bus.publish(&topic, keyed("k", 1)).await?;
    let mut cancelled = bus.publish(&topic, keyed("k", 2));
    assert!(is_pending(&mut cancelled));
    drop(cancelled);
    held.release();
    within("the next publish", bus.publish_sync(&topic, keyed("k", 3))).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 3).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 1, 3]);
    assert_eq!(bus.stats().published, 3);
    Ok(())
}

/// After many cancelled publishes the whole window is there, no more and no less.
pub async fn cancelled_publishes_leave_no_trace(ctx: Context) -> Result {
    const WINDOW: u64 = 4;
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = WINDOW as usize;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "cancelled").await?;
    for round in 0..2 {
        let held = ctx.hold_acks(&bus)?;
        for n in 0..WINDOW {
            bus.try_publish(&topic, event(n)).await?;
        }
        let full = bus.try_publish(&topic, event(99)).await;
        let full = full.expect_err("the window holds four");
        assert_eq!(full.kind(), ErrorKind::WindowFull, "round {round}");
        let mut waiting: Vec<_> = (0..100).map(|n| bus.publish(&topic, event(n))).collect();
        for publish in &mut waiting {
            assert!(is_pending(publish));
        }
        // Some are served first, with permits on their way while they are dropped.
        held.release();
        drop(waiting);
        within("the flush", bus.flush()).await??;
    }
    assert_eq!(bus.stats().in_flight, 0);
    assert_eq!(bus.stats().published, 1 + 2 * WINDOW);
    Ok(())
}

/// A `publish_sync` that is cancelled while it waits for the acknowledgement was accepted:
/// it is stored, and nobody hears of it.
pub async fn cancelled_waiting_publish_was_accepted(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "cancelled").await?;
    let held = ctx.hold_acks(&bus)?;
    let mut waiting = Box::pin(bus.publish_sync(&topic, event(1)));
    assert!(is_pending(&mut waiting));
    assert_eq!(bus.stats().in_flight, 1);
    drop(waiting);
    held.release();
    within("the flush", bus.flush()).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 2).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 1]);
    assert_eq!(failures.count(), 0);
    Ok(())
}
