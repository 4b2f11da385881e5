//! Batches.

use std::{sync::Arc, time::Duration};

use eventbus_core::{Envelope, ErrorKind, EventBus, EventBusExt, Topic};
use futures_util::future::{Either, select};

use super::failures::broken;
use crate::{
    Context, Failure, Feature, Result, eventually,
    steps::{Failures, assert_ascending, event, keyed, number, numbers, read_all, ready_topic},
    wait::{LONG, is_pending},
    within,
};

/// A batch resolves when everything is stored, with the receipts in the order of the batch.
pub async fn batch_resolves_when_all_are_stored(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("batch")?;
    let batch = (0..100).map(|n| keyed("k", n)).collect();
    let receipts = within("the batch", bus.publish_batch(&topic, batch)).await??;
    assert_eq!((receipts.len(), bus.stats().in_flight), (100, 0));
    let positions = receipts.iter().filter_map(|receipt| receipt.position());
    assert!(positions.is_sorted(), "the receipts are not in order");
    let stored = numbers(&read_all(&bus, &topic, 100).await?);
    assert_eq!(stored, (0..100).collect::<Vec<_>>());
    Ok(())
}

/// It does not resolve while verdicts are missing, not even when one has failed already.
pub async fn batch_waits_for_every_verdict(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.ack_timeout = LONG).await?;
    let topic = ready_topic(&ctx, &bus, "batch").await?;
    let held = ctx.hold_acks(&bus)?;
    let one_fails = ctx.harness().features().contains(&Feature::FailSends);
    if one_fails {
        ctx.faults(&bus)?.fail_next(1, broken());
    }
    let mut batch = bus.publish_batch(&topic, (1..=3).map(|n| keyed("k", n)).collect());
    assert!(is_pending(&mut batch), "two are unanswered");
    assert!(is_pending(&mut batch), "two are unanswered");
    held.release();
    let outcome = within("the batch", batch).await?;
    let stored = outcome.map_or_else(|error| error.receipts().len(), |receipts| receipts.len());
    assert_eq!(stored, 3 - usize::from(one_fails));
    Ok(())
}

/// A batch of nothing is done, with no receipts.
pub async fn empty_batch_is_nothing(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("empty")?;
    let batch = bus.publish_batch(&topic, Vec::new());
    assert_eq!(within("the batch", batch).await??, []);
    assert_eq!(bus.stats().published, 0);
    Ok(())
}

/// A batch flows through a window that is smaller.
pub async fn batch_may_be_larger_than_the_window(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 7).await?;
    let topic = ctx.topic("batch")?;
    let batch = (0..500).map(|n| keyed("k", n)).collect();
    let receipts = within("the batch", bus.publish_batch(&topic, batch)).await??;
    assert_eq!(receipts.len(), 500);
    let stats = bus.stats();
    assert!(stats.peak_in_flight <= 7 && stats.acknowledged == 500, "{stats:?}");
    Ok(())
}

/// Two batches of ten windows each share the window and both come to their end.
pub async fn two_batches_of_ten_windows_at_once(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 16).await?;
    let topic = ctx.topic("batch")?;
    let batch = |key: &'static str| {
        let batch = (0..160).map(|n| keyed(key, n)).collect();
        let (bus, topic): (Arc<dyn EventBus>, Topic) = (bus.clone(), topic.clone());
        tokio::spawn(async move { bus.publish_batch(&topic, batch).await.map(|r| r.len()) })
    };
    let (one, two) = (batch("one"), batch("two"));
    let both = within("both batches", async { (one.await, two.await) }).await?;
    assert_eq!((both.0??, both.1??), (160, 160));
    let stored = read_all(&bus, &topic, 320).await?;
    for key in ["one", "two"] {
        let of_key: Vec<_> = stored.iter().filter(|e| e.aggregate_id() == Some(key)).collect();
        assert_ascending(&of_key.iter().map(|e| number(e)).collect::<Vec<_>>());
    }
    Ok(())
}

/// The error of a batch names what was not stored, index by index, and has the receipts of
/// the rest.
pub async fn batch_names_failed_indices(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ready_topic(&ctx, &bus, "batch").await?;
    let batch: Vec<_> = (10..16).map(|n| keyed("k", n)).collect();
    ctx.faults(&bus)?.fail_next(2, broken());
    let error = within("the batch", bus.publish_batch(&topic, batch.clone())).await?;
    let error = error.expect_err("two are refused by the broker");
    assert_failed(&error, &batch, &[0, 1], broken().kind());
    let mut stored = numbers(&read_all(&bus, &topic, 5).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 12, 13, 14, 15]);
    assert_eq!(failures.count(), 0);
    Ok(())
}

/// An envelope that is refused fails its own index, and no other.
pub async fn batch_names_refused_indices(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "batch").await?;
    let mut batch: Vec<_> = (10..16).map(|n| keyed("k", n)).collect();
    for index in [1, 4] {
        batch[index] = ctx.largest_envelope(&bus, "k").with_header("one", "more");
    }
    let error = within("the batch", bus.publish_batch(&topic, batch.clone())).await?;
    let error = error.expect_err("two are too large");
    assert_failed(&error, &batch, &[1, 4], ErrorKind::TooLarge);
    let mut stored = numbers(&read_all(&bus, &topic, 5).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 10, 12, 13, 15]);
    Ok(())
}

#[track_caller]
fn assert_failed(
    error: &eventbus_core::BatchError,
    batch: &[Envelope],
    expected: &[usize],
    kind: ErrorKind,
) {
    let failed: Vec<_> = error.failures().iter().map(|failure| failure.index).collect();
    assert_eq!(failed, expected);
    for failure in error.failures() {
        assert_eq!(failure.error.kind(), kind);
        assert!(failure.error.envelope() == &batch[failure.index], "another envelope");
    }
    let stored: Vec<_> = error.receipts().iter().map(|(index, _)| *index).collect();
    let others: Vec<_> = (0..batch.len()).filter(|n| !expected.contains(n)).collect();
    assert_eq!(stored, others);
}

/// Starts a batch of ten with room for four, and drops it once those are in flight.
async fn cancel_with_four_in_flight(bus: &Arc<dyn EventBus>, topic: &Topic) -> Result {
    let batch = bus.publish_batch(topic, (1..=10).map(|n| keyed("k", n)).collect());
    let four = std::pin::pin!(eventually("four to be in flight", || bus.stats().in_flight == 4));
    match select(batch, four).await {
        Either::Left(_) => Err(Failure::new("the batch resolved without acknowledgements")),
        Either::Right((reached, _batch)) => reached,
    }
}

/// A cancelled batch leaves in flight what was accepted, and drops the rest.
pub async fn cancelled_batch_leaves_the_accepted_in_flight(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 4;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "batch").await?;
    let held = ctx.hold_acks(&bus)?;
    cancel_with_four_in_flight(&bus, &topic).await?;
    held.release();
    within("the flush", bus.flush()).await??;
    within("the marker", bus.publish_sync(&topic, event(99).key("k"))).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 6).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 1, 2, 3, 4, 99]);
    assert_eq!(bus.stats().acknowledged, 6);
    Ok(())
}

/// What a cancelled batch left in flight and fails later goes to the handler.
pub async fn cancelled_batch_hands_failures_to_the_handler(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 4;
            r.config.ack_timeout = Duration::from_secs(2);
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "batch").await?;
    let held = ctx.hold_acks(&bus)?;
    cancel_with_four_in_flight(&bus, &topic).await?;
    eventually("the handler to get four", || failures.count() == 4).await?;
    held.release();
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.numbers(), [1, 2, 3, 4]);
    assert_eq!(bus.stats().published, 5);
    Ok(())
}
