//! Order across a lost connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use eventbus_core::{EventBusExt, Ordering as DeliveryOrder};

use crate::{
    Context, PATIENCE, Result, eventually,
    steps::{
        Failures, assert_ascending, assert_each_key_ascending, keyed, number, publish_all,
        publish_numbers, take, take_until,
    },
    within,
};

/// The broker is killed and comes back while a key is published: what was acknowledged is
/// stored, and nothing out of order.
pub async fn order_survives_a_broker_restart(ctx: Context) -> Result {
    const MARKER: u64 = 1_000_000;
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = PATIENCE;
            r.config.retry_max_elapsed = PATIENCE;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ctx.topic("ordered")?;
    publish_numbers(&bus, &topic, 0..100).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (bus, topic, stop) = (bus.clone(), topic.clone(), stop.clone());
        tokio::spawn(async move {
            let mut n = 100;
            while !stop.load(Ordering::Relaxed) {
                bus.publish(&topic, keyed("one", n)).await?;
                n += 1;
                // A few thousand a second are enough, and all are read again.
                if n % 8 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            Result::<_>::Ok(n)
        })
    };
    let more = |than| {
        let bus = bus.clone();
        eventually("more to be acknowledged", move || bus.stats().acknowledged > than)
    };
    more(200).await?;
    ctx.harness().restart_broker().await?;
    more(bus.stats().acknowledged + 200).await?;
    stop.store(true, Ordering::Relaxed);
    let published = within("the publisher", publishing).await???;
    while bus.stats().in_flight > 0 {
        let _ = within("the flush", bus.flush()).await?;
    }
    within("the marker", bus.publish_sync(&topic, keyed("one", MARKER))).await??;
    let options = ctx.group("all").start(eventbus_core::Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let stored = take_until(&mut subscription, MARKER).await?;
    assert_ascending(&stored);
    let failed: Vec<_> = failures.envelopes().iter().map(number).collect();
    let lost: Vec<_> = (0..published)
        .filter(|n| stored.binary_search(n).is_err() && !failed.contains(n))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    Ok(())
}

/// The broker is killed and comes back while a member works: all arrives, and of each key what
/// arrives for the first time in its order. What was on its way must not come behind newer ones.
pub async fn per_key_survives_a_broker_restart(ctx: Context) -> Result {
    const KEYS: u64 = 20;
    const ALL: u64 = 4_000;
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(DeliveryOrder::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let writer = ctx.bus().await?;
    let events = (0..ALL).map(|n| keyed(&format!("k{}", n % KEYS), n));
    publish_all(&writer, &topic, events).await?;
    let restart = async {
        eventually("a part to be done", || bus.stats().settled > ALL / 8).await?;
        Result::<_>::Ok(ctx.harness().restart_broker().await?)
    };
    let (taken, restarted) = tokio::join!(take(&mut subscription, ALL as usize), restart);
    restarted?;
    assert_each_key_ascending(&taken?);
    Ok(())
}
