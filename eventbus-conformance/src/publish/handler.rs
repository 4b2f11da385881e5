//! What a failure handler may do.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use eventbus_core::{EventBus, EventBusExt};

use super::failures::broken;
use crate::{
    Context, PATIENCE, Result, eventually,
    steps::{Failures, event, keyed, number, numbers, read_all, ready_topic},
    within,
};

/// The handler gets every failure that nobody awaits, once, in time for a flush, with the
/// topic, the error and the whole envelope.
pub async fn handler_gets_each_failure_once_with_its_envelope(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ready_topic(&ctx, &bus, "failing").await?;
    let sent: Vec<_> = (1..=10).map(|n| keyed("k", n).with_header("n", n.to_string())).collect();
    ctx.faults(&bus)?.fail_next(3, broken());
    for envelope in &sent {
        bus.publish(&topic, envelope.clone()).await?;
    }
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.envelopes(), sent[..3]);
    for failure in failures.all() {
        assert_eq!(failure.topic(), &topic);
        assert_eq!(failure.error().kind(), broken().kind());
        assert_eq!(failure.error().operation(), "publish");
    }
    let stored = numbers(&read_all(&bus, &topic, 8).await?);
    assert!(stored.iter().all(|n| *n == 0 || *n > 3), "{stored:?}");
    within("the close", bus.close()).await??;
    assert_eq!(failures.count(), 3);
    assert_eq!(bus.stats().handled_failures, 3);
    Ok(())
}

/// A handler that panics is called for the next failure all the same.
pub async fn handler_may_panic(ctx: Context) -> Result {
    let failures = Failures::new();
    let kept = failures.clone();
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 2;
            r.on_failure = Some(Arc::new(move |failure| {
                let odd = number(&failure.envelope()) % 2 == 1;
                kept.add(failure);
                assert!(!odd, "on purpose: a scenario tries a handler that panics");
            }));
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "panicking").await?;
    ctx.faults(&bus)?.fail_next(10, broken());
    for n in 1..=12 {
        within("room", bus.publish(&topic, event(n))).await??;
    }
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.numbers(), (1..=10).collect::<Vec<_>>());
    let stats = bus.stats();
    assert_eq!((stats.handled_failures, stats.handler_panics), (10, 5));
    assert_eq!((stats.acknowledged, stats.in_flight), (3, 0));
    Ok(())
}

/// While the handler blocks, others publish and get their acknowledgements.
pub async fn handler_may_block_and_delays_nobody_else(ctx: Context) -> Result {
    let (go_on, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 4;
            r.on_failure = Some(Arc::new(move |_| {
                called.fetch_add(1, Ordering::SeqCst);
                let blocked = blocked.lock().map(|b| b.recv_timeout(PATIENCE * 2));
                assert!(matches!(blocked, Ok(Ok(()))), "nobody let the handler go on");
            }));
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "blocking").await?;
    ctx.faults(&bus)?.fail_next(1, broken());
    bus.publish(&topic, event(1)).await?;
    eventually("the handler to be called", || calls.load(Ordering::SeqCst) == 1).await?;
    for n in 2..=50 {
        within("a receipt", bus.publish_sync(&topic, event(n))).await??;
    }
    assert_eq!(bus.stats().in_flight, 1, "the failure is still being handled");
    go_on.send(())?;
    within("the flush", bus.flush()).await??;
    let stats = bus.stats();
    assert_eq!((stats.handled_failures, stats.handler_panics), (1, 0));
    Ok(())
}

/// A handler may publish the failed envelope elsewhere, and wait for it.
pub async fn handler_may_publish(ctx: Context) -> Result {
    let elsewhere = ctx.topic("elsewhere")?;
    let late_bus = Arc::new(OnceLock::<Weak<dyn EventBus>>::new());
    let runtime = tokio::runtime::Handle::current();
    let (bus_of, target) = (late_bus.clone(), elsewhere.clone());
    let bus = ctx
        .bus_with(|r| {
            r.on_failure = Some(Arc::new(move |failure| {
                let bus = bus_of.get().and_then(Weak::upgrade);
                let bus = bus.expect("the bus lives while its handler runs");
                let stored = runtime.block_on(bus.publish_sync(&target, failure.envelope()));
                stored.expect("publishing elsewhere works");
            }));
        })
        .await?;
    let _ = late_bus.set(Arc::downgrade(&bus));
    let topic = ready_topic(&ctx, &bus, "failing").await?;
    ctx.faults(&bus)?.refuse_topic(&topic, broken());
    for n in 1..=5 {
        bus.publish(&topic, event(n)).await?;
    }
    let mut moved = numbers(&read_all(&bus, &elsewhere, 5).await?);
    moved.sort_unstable();
    assert_eq!(moved, [1, 2, 3, 4, 5]);
    within("the flush", bus.flush()).await??;
    assert_eq!(bus.stats().handler_panics, 0);
    Ok(())
}

/// A failure keeps its place in the window until the handler has returned, so that failures
/// cannot pile up behind a slow handler.
pub async fn handler_holds_the_permit_until_it_returns(ctx: Context) -> Result {
    let (go_on, blocked) = mpsc::channel::<()>();
    let blocked = std::sync::Mutex::new(blocked);
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 2;
            r.on_failure = Some(Arc::new(move |_| {
                let _ = blocked.lock().map(|b| b.recv_timeout(Duration::from_secs(60)));
            }));
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "holding").await?;
    ctx.faults(&bus)?.fail_next(2, broken());
    for n in 1..=2 {
        bus.publish(&topic, event(n)).await?;
    }
    eventually("two failures", || bus.stats().failed == 2).await?;
    let refused = bus.try_publish(&topic, event(3)).await;
    assert!(refused.is_err(), "both places are held by failures");
    go_on.send(())?;
    within("room for the third", bus.publish(&topic, event(3))).await??;
    go_on.send(())?;
    within("the flush", bus.flush()).await??;
    assert_eq!(bus.stats().handled_failures, 2);
    Ok(())
}
