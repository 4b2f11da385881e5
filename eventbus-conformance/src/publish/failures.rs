//! Where failures go.

use std::{sync::Arc, time::Duration};

use eventbus_core::{Error, ErrorKind, EventBus, EventBusExt};

use crate::{
    Context, Request, Result, eventually,
    steps::{Failures, event, keyed, read_all, ready_topic},
    wait::LONG,
    within,
};

/// A bus that soon gives up waiting for an acknowledgement.
pub(super) async fn impatient_bus(ctx: &Context, failures: &Failures) -> Result<Arc<dyn EventBus>> {
    let request = |r: &mut Request| {
        r.config.ack_timeout = Duration::from_millis(500);
        r.on_failure = failures.handler();
    };
    ctx.bus_with(request).await
}

/// A verdict that is no.
pub(crate) fn broken() -> Error {
    Error::new(ErrorKind::Rejected, "injected by the scenario")
}

/// Who awaits a verdict gets the failure, with the envelope; the handler does not.
pub async fn awaited_failures_come_back_and_nowhere_else(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ready_topic(&ctx, &bus, "awaited").await?;
    let faults = ctx.faults(&bus)?;

    faults.fail_next(1, broken());
    let error = within("the verdict", bus.publish_sync(&topic, event(1))).await?;
    let error = error.expect_err("the send was refused");
    assert_eq!(
        (error.kind(), error.envelope().payload().as_ref()),
        (ErrorKind::Rejected, &b"1"[..])
    );

    faults.fail_next(1, broken());
    let receipt = bus.publish_with_receipt(&topic, event(2)).await?;
    let error = within("the verdict", receipt).await?.expect_err("refused");
    assert_eq!(
        (error.kind(), error.envelope().payload().as_ref()),
        (ErrorKind::Rejected, &b"2"[..])
    );

    faults.fail_next(2, broken());
    let batch = within("the batch", bus.publish_batch(&topic, vec![event(3), event(4)])).await?;
    assert_eq!(batch.expect_err("refused").failures().len(), 2);

    within("the flush", bus.flush()).await??;
    assert_eq!(failures.count(), 0, "the handler got what somebody awaited");
    assert_eq!((bus.stats().failed, bus.stats().in_flight), (4, 0));
    Ok(())
}

/// Nobody looks at the receipt, which is dropped after its verdict came: the handler gets
/// the failure, once.
pub async fn dropped_receipt_hands_its_failure_to_the_handler(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx.bus_with(|r| r.on_failure = failures.handler()).await?;
    let topic = ready_topic(&ctx, &bus, "dropped").await?;
    ctx.faults(&bus)?.fail_next(1, broken());
    let receipt = bus.publish_with_receipt(&topic, event(1)).await?;
    eventually("the verdict", || bus.stats().failed == 1).await?;
    drop(receipt);
    eventually("the handler to be called", || failures.count() == 1).await?;
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.numbers(), [1]);
    Ok(())
}

/// The receipt is dropped before its verdict comes: the handler gets the failure, once.
pub async fn receipt_dropped_in_flight_hands_its_failure_to_the_handler(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = impatient_bus(&ctx, &failures).await?;
    let topic = ready_topic(&ctx, &bus, "dropped").await?;
    let held = ctx.hold_acks(&bus)?;
    drop(bus.publish_with_receipt(&topic, event(1)).await?);
    eventually("the handler to be called", || failures.count() == 1).await?;
    held.release();
    within("the flush", bus.flush()).await??;
    assert_eq!(failures.numbers(), [1]);
    Ok(())
}

/// Without an acknowledgement in time the outcome is unknown, and the error says so: to who
/// waits, and to the handler.
pub async fn ack_timeout_is_ambiguous(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = impatient_bus(&ctx, &failures).await?;
    let topic = ready_topic(&ctx, &bus, "unknown").await?;
    let held = ctx.hold_acks(&bus)?;
    bus.publish(&topic, event(1)).await?;
    eventually("the handler to be called", || failures.count() == 1).await?;
    held.release();
    let failure = failures.all().remove(0);
    assert_eq!(failure.error().kind(), ErrorKind::AckTimeout);
    assert!(failure.error().is_ambiguous());
    assert_eq!((failures.numbers(), failure.topic()), (vec![1], &topic));
    // Another bus, because a transport may send nothing behind what has no answer.
    let bus = impatient_bus(&ctx, &failures).await?;
    let topic = ready_topic(&ctx, &bus, "awaited").await?;
    let held = ctx.hold_acks(&bus)?;
    let error = within("the verdict", bus.publish_sync(&topic, event(2))).await?;
    let error = error.expect_err("no acknowledgement came");
    assert_eq!(error.kind(), ErrorKind::AckTimeout);
    assert!(error.error().is_ambiguous() && !error.error().is_temporary());
    held.release();
    assert_eq!(failures.count(), 1, "the handler was called for what is awaited");
    Ok(())
}

/// An acknowledgement after the timeout changes nothing any more: it only counts.
pub async fn late_acks_are_counted(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = impatient_bus(&ctx, &failures).await?;
    let topic = ready_topic(&ctx, &bus, "late").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=3 {
        bus.publish(&topic, event(n)).await?;
    }
    eventually("three timeouts", || failures.count() == 3).await?;
    assert_eq!(bus.stats().late_acks, 0);
    // The others were not sent: a transport may send nothing behind what has no answer.
    let sent = failures.all().iter().filter(|failure| failure.error().is_ambiguous()).count();
    assert!(sent > 0, "{:?}", failures.all());
    held.release();
    eventually("the late acknowledgements", || bus.stats().late_acks == sent as u64).await?;
    let stats = bus.stats();
    assert_eq!((stats.acknowledged, stats.failed, stats.in_flight), (1, 3, 0));
    assert_eq!(failures.numbers(), [1, 2, 3]);
    Ok(())
}

/// Every accepted envelope is acknowledged or failed, not both and not neither, and what is
/// stored is what was acknowledged.
pub async fn failed_and_acknowledged_add_up(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 8;
            r.config.ack_timeout = LONG;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "sums").await?;
    let faults = ctx.faults(&bus)?;
    for n in 1..=300 {
        if n % 7 == 0 {
            faults.fail_next(1, broken());
        }
        bus.publish(&topic, keyed("k", n)).await?;
    }
    within("the flush", bus.flush()).await??;
    let stats = bus.stats();
    assert_eq!(stats.published, 301);
    assert_eq!(stats.acknowledged + stats.failed, 301);
    assert_eq!((stats.failed, failures.count()), (42, 42));
    let stored = read_all(&bus, &topic, 301 - 42).await?;
    let failed = failures.envelopes();
    assert!(stored.iter().all(|e| !failed.contains(e)), "stored and failed");
    Ok(())
}
