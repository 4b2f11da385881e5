//! Flushing.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc,
};

use eventbus_core::EventBusExt;

use super::failures::{broken, impatient_bus};
use crate::{
    Context, PATIENCE, Result, eventually,
    steps::{Failures, event, ready_topic},
    wait::{LONG, is_pending},
    within,
};

/// With nothing in flight a flush is done at once, also the second and the third time.
pub async fn flush_of_an_idle_bus_is_done(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    within("the flush of a new bus", bus.flush()).await??;
    ready_topic(&ctx, &bus, "idle").await?;
    for _ in 0..3 {
        within("the flush", bus.flush()).await??;
    }
    Ok(())
}

/// A flush resolves when everything before it has its verdict, and not before.
pub async fn flush_waits_for_every_verdict(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.ack_timeout = LONG).await?;
    let topic = ready_topic(&ctx, &bus, "flushed").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=5 {
        bus.publish(&topic, event(n)).await?;
    }
    let mut flush = bus.flush();
    assert!(is_pending(&mut flush), "five are unanswered");
    assert!(is_pending(&mut bus.flush()), "for a second flush too");
    held.release();
    within("the flush", flush).await??;
    assert_eq!(bus.stats().acknowledged, 6);
    Ok(())
}

/// A flush also waits until the handler has returned for each failure before it.
pub async fn flush_waits_for_the_failure_handler(ctx: Context) -> Result {
    let (go_on, blocked) = mpsc::channel::<()>();
    let (blocked, calls) = (Mutex::new(blocked), Arc::new(AtomicUsize::new(0)));
    let called = calls.clone();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.on_failure = Some(Arc::new(move |_| {
                called.fetch_add(1, Ordering::SeqCst);
                let _ = blocked.lock().map(|b| b.recv_timeout(PATIENCE * 2));
            }));
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "flushed").await?;
    ctx.faults(&bus)?.fail_next(1, broken());
    bus.publish(&topic, event(1)).await?;
    eventually("the handler to run", || calls.load(Ordering::SeqCst) == 1).await?;
    let mut flush = bus.flush();
    assert!(is_pending(&mut flush), "the handler has not returned");
    go_on.send(())?;
    within("the flush", flush).await??;
    assert_eq!(bus.stats().in_flight, 0);
    Ok(())
}

/// Those who publish without end neither block a flush nor starve it.
pub async fn flush_is_not_held_up_by_later_publishers(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 32).await?;
    let topic = ready_topic(&ctx, &bus, "busy").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..4)
        .map(|n| {
            let (bus, topic, stop) = (bus.clone(), topic.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    bus.publish(&topic, event(n)).await?;
                    tokio::task::yield_now().await;
                }
                Result::<_>::Ok(())
            })
        })
        .collect();
    let before = bus.stats().published;
    eventually("publishers to be at it", || bus.stats().published > before + 100).await?;
    for _ in 0..20 {
        let accepted = bus.stats().published;
        within("a flush among publishers", bus.flush()).await??;
        let stats = bus.stats();
        assert!(stats.acknowledged + stats.failed >= accepted, "{stats:?}");
    }
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers {
        within("a publisher", publisher).await???;
    }
    Ok(())
}

/// When no acknowledgement comes at all, a flush ends with the timeouts.
pub async fn flush_is_bounded_by_the_ack_timeout(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = impatient_bus(&ctx, &failures).await?;
    let topic = ready_topic(&ctx, &bus, "silent").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=5 {
        bus.publish(&topic, event(n)).await?;
    }
    // On a machine that stalls the flush itself may time out, and be asked again.
    while within("the flush", bus.flush()).await?.is_err() {}
    assert_eq!(failures.numbers(), [1, 2, 3, 4, 5]);
    held.release();
    Ok(())
}
