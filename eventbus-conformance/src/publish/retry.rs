//! What certainly was not stored is sent again, as long as the policy allows.

use std::time::Duration;

use eventbus_core::{Error, ErrorKind, EventBusExt, PublishOptions, RetryPolicy};

use super::failures::broken;
use crate::{
    Context, Request, Result,
    steps::{Failures, event, numbers, read_all, ready_topic},
    within,
};

/// The broker was not reached.
pub(crate) fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "injected by the scenario")
}

const PAUSE: Duration = Duration::from_millis(10);

fn patiently(request: &mut Request) {
    request.config.retry_max_elapsed = crate::PATIENCE;
    request.config.retry_backoff = PAUSE;
    request.config.retry_max_backoff = PAUSE * 4;
}

/// Handed back a few times, an envelope is sent again until it is stored; its publisher
/// notices nothing.
pub async fn retried_until_it_is_stored(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            patiently(r);
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "retried").await?;
    ctx.faults(&bus)?.hand_back_next(3, away());
    within("the receipt", bus.publish_sync(&topic, event(1))).await??;
    ctx.faults(&bus)?.hand_back_next(2, away());
    bus.publish(&topic, event(2)).await?;
    within("the flush", bus.flush()).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 3).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 1, 2]);
    let stats = bus.stats();
    assert_eq!((stats.retried, stats.acknowledged, stats.failed), (5, 3, 0));
    assert_eq!(failures.count(), 0);
    Ok(())
}

/// When the policy gives up, the last error comes out.
pub async fn retry_gives_up_with_the_last_error(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            patiently(r);
            r.config.retry_max_elapsed = Duration::from_millis(300);
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "given_up").await?;
    ctx.faults(&bus)?.hand_back_next(1_000_000, away());
    let error = within("the verdict", bus.publish_sync(&topic, event(1))).await?;
    let error = error.expect_err("it is handed back for ever");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.error().is_ambiguous(), "it certainly was not stored");
    assert_eq!(error.envelope().payload().as_ref(), b"1");
    assert!(bus.stats().retried >= 2, "{:?}", bus.stats());
    Ok(())
}

/// By default nothing is retried: what is handed back fails at once.
pub async fn without_a_policy_nothing_is_retried(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "once").await?;
    ctx.faults(&bus)?.hand_back_next(1, away());
    let error = within("the verdict", bus.publish_sync(&topic, event(1))).await?;
    assert_eq!(error.expect_err("handed back").kind(), ErrorKind::Unavailable);
    within("the receipt", bus.publish_sync(&topic, event(2))).await??;
    assert_eq!(bus.stats().retried, 0);
    Ok(())
}

/// One publish may ask for another policy than the bus has.
pub async fn one_publish_may_bring_its_own_retry_policy(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "own").await?;
    let faults = ctx.faults(&bus)?;
    let policy = RetryPolicy::for_at_most(crate::PATIENCE).with_backoff(PAUSE, PAUSE);
    let options = PublishOptions::new().retry(policy);
    faults.hand_back_next(2, away());
    let receipt = bus.publish_with_receipt_opts(&topic, event(1), options).await?;
    within("the receipt", receipt).await??;
    assert_eq!(bus.stats().retried, 2);
    faults.hand_back_next(1, away());
    let error = within("the verdict", bus.publish_sync(&topic, event(2))).await?;
    assert_eq!(error.expect_err("no policy").kind(), ErrorKind::Unavailable);
    Ok(())
}

/// A verdict is a verdict: what the broker refused is not sent again.
pub async fn refused_by_the_broker_is_not_retried(ctx: Context) -> Result {
    let bus = ctx.bus_with(patiently).await?;
    let topic = ready_topic(&ctx, &bus, "refused").await?;
    ctx.faults(&bus)?.fail_next(1, broken());
    let error = within("the verdict", bus.publish_sync(&topic, event(1))).await?;
    assert_eq!(error.expect_err("refused").kind(), broken().kind());
    assert_eq!(bus.stats().retried, 0);
    Ok(())
}

/// An idempotent publish that was sent again is still idempotent.
pub async fn idempotent_publish_stays_so_when_retried(ctx: Context) -> Result {
    let bus = ctx.bus_with(patiently).await?;
    let topic = ready_topic(&ctx, &bus, "idempotent").await?;
    let envelope = event(1);
    let once = || PublishOptions::new().idempotent();
    ctx.faults(&bus)?.hand_back_next(1, away());
    let first = bus.publish_with_receipt_opts(&topic, envelope.clone(), once());
    let first = within("the receipt", first.await?).await??;
    let second = bus.publish_with_receipt_opts(&topic, envelope, once());
    let second = within("the receipt", second.await?).await??;
    assert_eq!((first.is_duplicate(), second.is_duplicate()), (false, true));
    bus.publish_sync(&topic, event(2)).await?;
    assert_eq!(read_all(&bus, &topic, 3).await?.len(), 3);
    Ok(())
}
