//! The bounded window: count and bytes.

use std::sync::Arc;

use eventbus_core::{Envelope, ErrorKind, EventBus, EventBusExt};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::{
    Context, Result, eventually,
    steps::{
        assert_ascending, assert_each_key_ascending, event, keyed, next, number, publish_all,
        read_all, ready_topic, take, take_numbers,
    },
    wait::{LONG, is_pending},
    within,
};

/// With room for one envelope, every mode of publishing works and keeps to it.
pub async fn window_of_one_carries_every_mode(ctx: Context) -> Result {
    every_mode(ctx, 1).await
}

/// With room for sixteen, too.
pub async fn window_of_sixteen_carries_every_mode(ctx: Context) -> Result {
    every_mode(ctx, 16).await
}

async fn every_mode(ctx: Context, window: usize) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = window).await?;
    let topic = ctx.topic("modes")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    for n in 0..20 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    for n in 20..30 {
        within("a receipt", bus.publish_sync(&topic, keyed("k", n))).await??;
    }
    let batch = (30..70).map(|n| keyed("k", n)).collect();
    let receipts = within("the batch", bus.publish_batch(&topic, batch)).await??;
    assert_eq!(receipts.len(), 40);
    for n in 70..80 {
        let receipt = bus.publish_with_receipt(&topic, keyed("k", n)).await?;
        within("a receipt", receipt).await??;
    }
    let taken = take_numbers(&mut subscription, 80).await?;
    assert_eq!(taken, (0..80).collect::<Vec<_>>());
    let peak = bus.stats().peak_in_flight;
    assert!(peak <= window, "{peak} were in flight, {window} are allowed");
    Ok(())
}

/// With as many in flight as the window holds, the next publisher waits for the first
/// acknowledgement.
pub async fn count_limit_makes_publishers_wait(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 4;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "full").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..=4 {
        bus.publish(&topic, event(n)).await?;
    }
    let mut fifth = bus.publish(&topic, event(5));
    assert!(is_pending(&mut fifth), "there is no room for a fifth");
    assert_eq!(bus.stats().in_flight, 4);
    held.release();
    within("room for the fifth", fifth).await??;
    within("the flush", bus.flush()).await??;
    assert_eq!(bus.stats().acknowledged, 6);
    Ok(())
}

/// With as many bytes in flight as the window holds, the next publisher waits, and a
/// smaller envelope does not overtake it.
pub async fn byte_limit_makes_publishers_wait(ctx: Context) -> Result {
    const BYTES: usize = 100_000;
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight_bytes = BYTES;
            r.config.max_envelope_bytes = BYTES;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "bytes").await?;
    let held = ctx.hold_acks(&bus)?;
    let large = || Envelope::new("large", vec![7; BYTES / 3]);
    bus.publish(&topic, large()).await?;
    bus.publish(&topic, large()).await?;
    let mut third = bus.publish(&topic, large());
    assert!(is_pending(&mut third), "there is no room for a third");
    let small = bus.try_publish(&topic, event(1)).await;
    let refused = small.expect_err("nobody overtakes who waits");
    assert_eq!(refused.kind(), ErrorKind::WindowFull);
    assert!(bus.stats().in_flight_bytes <= BYTES);
    held.release();
    within("room for the third", third).await??;
    within("the flush", bus.flush()).await??;
    let peak_allowed = 3;
    assert!(bus.stats().peak_in_flight <= peak_allowed);
    Ok(())
}

/// Publishers that wait for room get it in the order in which they came.
pub async fn full_window_serves_first_come_first(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 1).await?;
    let topic = ready_topic(&ctx, &bus, "queue").await?;
    let held = ctx.hold_acks(&bus)?;
    // One after the other each asks for room, then all wait.
    let mut waiting = join_all((1..=25).map(|n| bus.publish(&topic, keyed("k", n))));
    assert!(is_pending(&mut waiting));
    drop(held);
    let outcomes = within("all to be accepted", waiting).await?;
    outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
    let stored = read_all(&bus, &topic, 26).await?;
    let stored: Vec<_> = stored.iter().map(number).filter(|n| *n > 0).collect();
    assert_ascending(&stored);
    Ok(())
}

/// However many publish at once, neither count nor bytes in flight exceed their limits.
pub async fn in_flight_stays_within_the_window_under_load(ctx: Context) -> Result {
    const COUNT: usize = 16;
    const BYTES: usize = 20_000;
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = COUNT;
            r.config.max_in_flight_bytes = BYTES;
            r.config.max_envelope_bytes = BYTES;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "load").await?;
    let mut publishers = JoinSet::new();
    for _ in 0..16 {
        let (bus, topic) = (bus.clone(), topic.clone());
        publishers.spawn(async move {
            let mut most = 0;
            for _ in 0..100 {
                let envelope = Envelope::new("load", vec![0; 3_000]);
                bus.publish(&topic, envelope).await?;
                most = most.max(bus.stats().in_flight_bytes);
            }
            Result::<_>::Ok(most)
        });
    }
    let publishers = within("all publishers", publishers.join_all()).await?;
    let most = publishers.into_iter().collect::<Result<Vec<_>>>()?;
    let most = most.into_iter().max().unwrap_or_default();
    assert!(most <= BYTES, "{most} bytes were in flight, {BYTES} are allowed");
    within("the flush", bus.flush()).await??;
    let stats = bus.stats();
    assert!(stats.peak_in_flight <= COUNT, "{stats:?}");
    assert_eq!((stats.acknowledged, stats.failed), (1601, 0));
    assert_eq!((stats.in_flight, stats.in_flight_bytes), (0, 0));
    Ok(())
}

/// Sixty-four tasks publish at once, and everything arrives in the order of its publisher.
pub async fn sixty_four_publishers(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 64).await?;
    let topic = ctx.topic("many")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let mut publishers = JoinSet::new();
    for publisher in 0..64 {
        let (bus, topic): (Arc<dyn EventBus>, _) = (bus.clone(), topic.clone());
        publishers.spawn(async move {
            let key = format!("publisher-{publisher}");
            publish_all(&bus, &topic, (0..50).map(|n| keyed(&key, n))).await
        });
    }
    let taken = take(&mut subscription, 64 * 50).await?;
    assert_each_key_ascending(&taken);
    let published = within("all publishers", publishers.join_all()).await?;
    published.into_iter().collect::<Result<()>>()
}

/// With room in the window, `try_publish` is a publish.
pub async fn try_publish_is_delivered(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("tried")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    bus.try_publish(&topic, event(7)).await?;
    let delivery = next(&mut subscription).await?;
    assert_eq!(number(delivery.envelope()), 7);
    delivery.ack().await?;
    Ok(())
}

/// Without room, `try_publish` gives the envelope back at once, and works again later.
pub async fn try_publish_is_refused_at_once_when_full(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 1;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "tried").await?;
    let held = ctx.hold_acks(&bus)?;
    bus.publish(&topic, event(1)).await?;
    let refused = bus.try_publish(&topic, event(2)).await;
    let refused = refused.expect_err("the window is full");
    assert_eq!(refused.kind(), ErrorKind::WindowFull);
    assert!(refused.error().is_temporary());
    assert_eq!(number(refused.envelope()), 2);
    assert_eq!(bus.stats().refused, 1);
    held.release();
    eventually("the window to be empty", || bus.stats().in_flight == 0).await?;
    bus.try_publish(&topic, event(3)).await?;
    let stored = read_all(&bus, &topic, 3).await?;
    assert_eq!(stored.iter().filter(|e| number(e) == 2).count(), 0);
    Ok(())
}
