//! One task, one key, one live connection: stored in the order of the calls.

use eventbus_core::EventBusExt;

use crate::{
    Context, Result,
    steps::{
        assert_each_key_ascending, keyed, numbers, publish_all, publish_numbers, read_all, take,
    },
    wait::LONG,
    within,
};

/// Asynchronous publishes of one key are stored in order.
pub async fn one_key_published_asynchronously(ctx: Context) -> Result {
    // Where a key has one message in flight, the last waits for as many round trips.
    let bus = ctx.bus_with(|r| r.config.ack_timeout = LONG).await?;
    let topic = ctx.topic("ordered")?;
    publish_numbers(&bus, &topic, 0..2_000).await?;
    let stored = numbers(&read_all(&bus, &topic, 2_000).await?);
    assert_eq!(stored, (0..2_000).collect::<Vec<_>>());
    Ok(())
}

/// So are synchronous ones.
pub async fn one_key_published_synchronously(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("ordered")?;
    for n in 0..50 {
        within("the receipt", bus.publish_sync(&topic, keyed("k", n))).await??;
    }
    let stored = numbers(&read_all(&bus, &topic, 50).await?);
    assert_eq!(stored, (0..50).collect::<Vec<_>>());
    Ok(())
}

/// So are batches, one after the other.
pub async fn one_key_published_in_batches(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 64).await?;
    let topic = ctx.topic("ordered")?;
    for from in (0..1_000).step_by(200) {
        let batch = (from..from + 200).map(|n| keyed("k", n)).collect();
        within("the batch", bus.publish_batch(&topic, batch)).await??;
    }
    let stored = numbers(&read_all(&bus, &topic, 1_000).await?);
    assert_eq!(stored, (0..1_000).collect::<Vec<_>>());
    Ok(())
}

/// So are those of `try_publish`, with what was refused tried again.
pub async fn one_key_tried(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 8).await?;
    let topic = ctx.topic("ordered")?;
    for n in 0..500 {
        let mut envelope = keyed("k", n);
        while let Err(refused) = bus.try_publish(&topic, envelope).await {
            assert!(refused.error().is_temporary(), "{refused}");
            envelope = refused.into_parts().1;
            within("room", bus.flush()).await??;
        }
    }
    let stored = numbers(&read_all(&bus, &topic, 500).await?);
    assert_eq!(stored, (0..500).collect::<Vec<_>>());
    Ok(())
}

/// The order of a key holds across the modes of publishing, whoever waits for what.
pub async fn modes_interleaved(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 32).await?;
    let topic = ctx.topic("ordered")?;
    let mut count = 0;
    let mut fresh = || {
        count += 1;
        keyed("k", count)
    };
    let mut receipts = Vec::new();
    for round in 0..40 {
        bus.publish(&topic, fresh()).await?;
        bus.publish(&topic, fresh()).await?;
        receipts.push(bus.publish_with_receipt(&topic, fresh()).await?);
        if round % 3 == 0 {
            within("the receipt", bus.publish_sync(&topic, fresh())).await??;
        }
        bus.publish(&topic, fresh()).await?;
        let batch = (0..7).map(|_| fresh()).collect();
        within("the batch", bus.publish_batch(&topic, batch)).await??;
        if round % 5 == 0 {
            within("the flush", bus.flush()).await??;
        }
        bus.publish(&topic, fresh()).await?;
    }
    for receipt in receipts {
        within("a receipt", receipt).await??;
    }
    within("the flush", bus.flush()).await??;
    let stored = numbers(&read_all(&bus, &topic, count as usize).await?);
    assert_eq!(stored, (1..=count).collect::<Vec<_>>());
    Ok(())
}

/// A thousand keys, sixty-four events each, all mixed: each key in its order.
pub async fn thousand_keys_of_sixty_four(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("ordered")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let publishing = {
        let (bus, topic) = (bus.clone(), topic.clone());
        let events = (0..64).flat_map(|n| (0..1_000).map(move |key| keyed(&format!("k{key}"), n)));
        tokio::spawn(async move { publish_all(&bus, &topic, events).await })
    };
    let mut taken = Vec::with_capacity(64_000);
    for _ in 0..64 {
        taken.extend(take(&mut subscription, 1_000).await?);
    }
    publishing.await??;
    assert_each_key_ascending(&taken);
    Ok(())
}
