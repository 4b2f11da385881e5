//! Closing.

use std::time::Duration;

use eventbus_core::{Error, ErrorKind, EventBusExt, HealthStatus, Start, SubscribeOptions};
use futures_util::future::join_all;

use crate::{
    Context, Result,
    steps::{Failures, event, keyed, number, numbers, read_all, ready_topic, take_until},
    wait::{LONG, is_pending},
    within,
};

const SOON: Duration = Duration::from_millis(300);

/// Closing waits for what was accepted: it is all stored afterwards.
pub async fn close_flushes_what_was_accepted(ctx: Context) -> Result {
    let (bus, other) = (ctx.bus().await?, ctx.bus().await?);
    let topic = ctx.topic("closed")?;
    for n in 0..500 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    within("the close", bus.close()).await??;
    let stats = bus.stats();
    assert_eq!((stats.acknowledged, stats.failed, stats.in_flight), (500, 0, 0));
    let stored = numbers(&read_all(&other, &topic, 500).await?);
    assert_eq!(stored, (0..500).collect::<Vec<_>>());
    Ok(())
}

/// What has no verdict when the time is up goes to the handler, each once, as unknown if it was
/// sent; and what is awaited comes back to who awaits it.
pub async fn close_reports_all_in_flight(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.config.close_timeout = SOON;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "closed").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=10 {
        bus.publish(&topic, event(n)).await?;
    }
    let receipt = bus.publish_with_receipt(&topic, event(11)).await?;
    let closed = within("the close", bus.close()).await?;
    assert_eq!(closed.expect_err("eleven are unanswered").kind(), ErrorKind::AckTimeout);
    assert_eq!(failures.numbers(), (1..=10).collect::<Vec<_>>());
    let awaited = within("the verdict", receipt).await?.expect_err("unanswered");
    assert_eq!(number(awaited.envelope()), 11);
    held.release();
    within("the second close", bus.close()).await??;
    assert_eq!((failures.count(), bus.stats().in_flight), (10, 0));
    // What was sent is ambiguous, and so nothing that is not can be stored.
    let certain = |error: &Error| !error.is_ambiguous();
    let failed = failures.all();
    let mut unsent: Vec<_> =
        failed.iter().filter(|f| certain(f.error())).map(|f| number(&f.envelope())).collect();
    unsent.extend(certain(awaited.error()).then_some(11));
    assert!(unsent.len() < 11, "nothing was sent: {failed:?}");
    let other = ctx.bus().await?;
    other.publish_sync(&topic, event(12)).await?;
    let from_start = SubscribeOptions::new().start(Start::Earliest);
    let stored = take_until(&mut other.subscribe(&topic.filter(), from_start).await?, 12).await?;
    assert!(unsent.iter().all(|n| !stored.contains(n)), "{unsent:?} of {stored:?}");
    Ok(())
}

/// Those who wait for room when the bus closes get their envelopes back at once, however
/// long the close still waits for what is in flight.
pub async fn close_refuses_those_who_wait(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 1;
            r.config.ack_timeout = LONG;
            r.config.close_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "closed").await?;
    let held = ctx.hold_acks(&bus)?;
    bus.publish(&topic, event(1)).await?;
    let mut waiting = join_all((2..6).map(|n| bus.publish(&topic, event(n))));
    assert!(is_pending(&mut waiting));
    let mut close = bus.close();
    assert!(is_pending(&mut close), "one is unanswered");
    let outcomes = within("those who wait", waiting).await?;
    for (n, outcome) in (2..).zip(outcomes) {
        let error = outcome.expect_err("the bus is closed");
        assert_eq!((error.kind(), number(error.envelope())), (ErrorKind::Closed, n));
    }
    held.release();
    within("the close", close).await??;
    assert_eq!((bus.stats().published, bus.stats().acknowledged), (2, 2));
    Ok(())
}

/// Closing again, also at the same time, is harmless.
pub async fn close_twice_is_harmless(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    ready_topic(&ctx, &bus, "closed").await?;
    let (first, second) = (bus.close(), bus.close());
    let both = within("both closes", async { tokio::join!(first, second) }).await?;
    both.0?;
    both.1?;
    within("the third close", bus.close()).await??;
    Ok(())
}

/// A close that is cancelled can be called again, and then everything is reported.
pub async fn cancelled_close_can_be_called_again(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = LONG;
            r.config.close_timeout = SOON;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "closed").await?;
    let _held = ctx.hold_acks(&bus)?;
    bus.publish(&topic, event(1)).await?;
    let mut cancelled = bus.close();
    assert!(is_pending(&mut cancelled));
    drop(cancelled);
    let closed = within("the second close", bus.close()).await?;
    assert!(closed.is_err(), "one is unanswered");
    assert_eq!(failures.numbers(), [1]);
    Ok(())
}

/// After closing, everything that is asked of the bus is refused, with the envelopes.
pub async fn closed_bus_refuses_everything(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "closed").await?;
    within("the close", bus.close()).await??;
    let refused = bus.publish(&topic, event(1)).await.expect_err("closed");
    assert_eq!((refused.kind(), number(refused.envelope())), (ErrorKind::Closed, 1));
    let refused = bus.try_publish(&topic, event(2)).await.expect_err("closed");
    assert_eq!((refused.kind(), number(refused.envelope())), (ErrorKind::Closed, 2));
    let refused = bus.publish_with_receipt(&topic, event(3)).await.expect_err("closed");
    assert_eq!((refused.kind(), number(refused.envelope())), (ErrorKind::Closed, 3));
    let batch = bus.publish_batch(&topic, vec![event(4), event(5)]).await;
    let batch = batch.expect_err("closed");
    let kinds: Vec<_> = batch.failures().iter().map(|failure| failure.error.kind()).collect();
    assert_eq!(kinds, [ErrorKind::Closed, ErrorKind::Closed]);
    let refused = bus.subscribe(&topic.filter(), ctx.group("late")).await;
    assert_eq!(refused.expect_err("closed").kind(), ErrorKind::Closed);
    let refused = bus.ensure_topic(&topic).await;
    assert_eq!(refused.expect_err("closed").kind(), ErrorKind::Closed);
    within("the flush", bus.flush()).await??;
    assert_eq!(bus.health().await.status, HealthStatus::Closed);
    assert_eq!(bus.stats().published, 1);
    Ok(())
}
