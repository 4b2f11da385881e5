//! Failures and retries leave gaps, never inversions.

use std::time::Duration;

use eventbus_core::{ErrorKind, EventBusExt, PublishOptions, RetryPolicy};

use crate::{
    Context, PATIENCE, Request, Result, eventually,
    publish::{away, broken},
    steps::{
        Failures, assert_ascending, assert_each_key_ascending, keyed, number, numbers, read_all,
        ready_topic,
    },
    wait::LONG,
    within,
};

fn with_retries(request: &mut Request) {
    request.config.retry_max_elapsed = PATIENCE;
    request.config.retry_backoff = Duration::from_millis(5);
    request.config.retry_max_backoff = Duration::from_millis(20);
}

/// What failed is missing from the order of its key, and nothing is out of place.
pub async fn failure_makes_a_gap_and_no_inversion(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ready_topic(&ctx, &bus, "gaps").await?;
    let faults = ctx.faults(&bus)?;
    for n in 1..=200 {
        if n % 10 == 0 {
            faults.fail_next(1, broken());
        }
        bus.publish(&topic, keyed("k", n)).await?;
    }
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.numbers(), (1..=20).map(|n| n * 10).collect::<Vec<_>>());
    let mut stored = numbers(&read_all(&bus, &topic, 181).await?);
    stored.retain(|n| *n > 0);
    assert_eq!(stored, (1..=200).filter(|n| n % 10 != 0).collect::<Vec<_>>());
    Ok(())
}

/// The successors of an envelope that waits for its retry wait behind it.
pub async fn retry_keeps_the_order_of_a_key(ctx: Context) -> Result {
    let bus = ctx.bus_with(with_retries).await?;
    let topic = ready_topic(&ctx, &bus, "retried").await?;
    ctx.faults(&bus)?.hand_back_next(3, away());
    for n in 1..=20 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    within("the flush", bus.flush()).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 21).await?);
    stored.retain(|n| *n > 0);
    assert_eq!(stored, (1..=20).collect::<Vec<_>>());
    assert!(bus.stats().retried >= 3, "{:?}", bus.stats());
    Ok(())
}

/// With many keys and many retries among them: each envelope is stored in its place, or
/// reported.
pub async fn retry_under_load_keeps_the_order(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            with_retries(r);
            r.config.max_in_flight = 64;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "retried").await?;
    let faults = ctx.faults(&bus)?;
    for n in 1..=1_000 {
        if n % 50 == 0 {
            faults.hand_back_next(5, away());
        }
        bus.publish(&topic, keyed(&format!("k{}", n % 13), n)).await?;
    }
    while bus.stats().in_flight > 0 {
        within("the flush", bus.flush()).await??;
    }
    let failed = failures.count();
    let stored = read_all(&bus, &topic, 1_001 - failed).await?;
    assert_each_key_ascending(&stored);
    // Each entry was handed back before any successor of its key was stored.
    assert_eq!(failures.numbers(), [0; 0]);
    Ok(())
}

/// While one key waits for its retry, other keys are published.
pub async fn retry_holds_up_no_other_key(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.retry_max_elapsed = LONG * 2;
            r.config.retry_backoff = LONG;
            r.config.retry_max_backoff = LONG;
            r.config.close_timeout = Duration::from_millis(200);
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "retried").await?;
    ctx.faults(&bus)?.hand_back_next(1, away());
    bus.publish(&topic, keyed("waiting", 1)).await?;
    bus.publish(&topic, keyed("waiting", 2)).await?;
    for n in 3..20 {
        within("another key", bus.publish_sync(&topic, keyed("other", n))).await??;
    }
    assert_eq!(bus.stats().in_flight, 2, "the first key still waits");
    let closed = within("the close", bus.close()).await?;
    assert!(closed.is_err(), "two were not stored");
    assert_eq!(failures.numbers(), [1, 2]);
    let certain = failures.all().iter().all(|f| !f.error().is_ambiguous());
    assert!(certain, "they certainly were not stored: {failures:?}");
    Ok(())
}

/// When a retry gives up, all that wait behind it are reported, in order, and what comes
/// later is published.
pub async fn retry_that_gives_up_takes_its_successors_along(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            with_retries(r);
            r.config.retry_max_elapsed = Duration::from_millis(400);
            r.config.retry_backoff = Duration::from_millis(100);
            r.config.retry_max_backoff = Duration::from_millis(100);
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "retried").await?;
    ctx.faults(&bus)?.hand_back_next(50, away());
    for n in 1..=5 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    eventually("all five to be reported", || failures.count() == 5).await?;
    let reported: Vec<_> = failures.envelopes().iter().map(number).collect();
    assert_ascending(&reported);
    for failure in failures.all() {
        assert_eq!(failure.error().kind(), ErrorKind::Unavailable);
        assert!(!failure.error().is_ambiguous());
    }
    // Each of these uses up one of the hand-backs that are left.
    let once = || PublishOptions::new().retry(RetryPolicy::none());
    for n in 6.. {
        let receipt = bus.publish_with_receipt_opts(&topic, keyed("k", n), once()).await?;
        if within("the verdict", receipt).await?.is_ok() {
            break;
        }
    }
    let mut stored = numbers(&read_all(&bus, &topic, 2).await?);
    stored.sort_unstable();
    assert!(stored[0] == 0 && stored[1] > 5, "{stored:?}");
    Ok(())
}
