//! What is acknowledged does not come again.

use std::time::Duration;

use crate::{
    Context, Result,
    steps::{
        ack_all_of, event, keyed, next, nothing_for, number, publish_all, publish_numbers,
        take_numbers, take_until,
    },
    within,
};

/// After an orderly restart a member goes on behind what it has acknowledged.
pub async fn ack_survives_a_consumer_restart(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("restarted")?;
    publish_numbers(&bus, &topic, 0..20).await?;
    for from in [0, 10] {
        let consumer = ctx.bus().await?;
        let options = ctx.group("all").max_in_flight(10);
        let mut subscription = consumer.subscribe(&topic.filter(), options).await?;
        let expected: Vec<_> = (from..from + 10).collect();
        assert_eq!(take_numbers(&mut subscription, 10).await?, expected);
        within("the close", consumer.close()).await??;
    }
    publish_numbers(&bus, &topic, [20]).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    assert_eq!(take_until(&mut subscription, 20).await?, [20]);
    Ok(())
}

/// What the broker has confirmed stays acknowledged even when the process then crashes.
pub async fn ack_confirmed_survives_a_consumer_crash(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("crashed")?;
    publish_numbers(&bus, &topic, 0..6).await?;
    let consumer = ctx.bus().await?;
    let options = ctx.group("all").ack_wait(Duration::from_secs(2));
    let mut subscription = consumer.subscribe(&topic.filter(), options.clone()).await?;
    for n in 0..5 {
        let delivery = next(&mut subscription).await?;
        assert_eq!(number(delivery.envelope()), n);
        within("the confirmation", delivery.ack_confirmed()).await??;
    }
    // No close: that is what a crash is to the broker.
    drop((subscription, consumer));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    assert_eq!(take_until(&mut subscription, 5).await?, [5]);
    Ok(())
}

/// `ack_all` acknowledges each, also those of several subscriptions.
pub async fn ack_all_settles_each(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("many")?;
    let wait = Duration::from_secs(5);
    let mut one = bus.subscribe(&topic.filter(), ctx.group("one").ack_wait(wait)).await?;
    let mut two = bus.subscribe(&topic.filter(), ctx.group("two").ack_wait(wait)).await?;
    publish_all(&bus, &topic, (0..20).map(event)).await?;
    let mut deliveries = Vec::new();
    for _ in 0..20 {
        deliveries.push(next(&mut one).await?);
        deliveries.push(next(&mut two).await?);
    }
    ack_all_of(deliveries).await?;
    assert_eq!(bus.stats().settled, 40);
    let (one, two) = (nothing_for(&mut one, wait), nothing_for(&mut two, wait));
    let (one, two) = tokio::join!(one, two);
    one.and(two)
}

/// With `cumulative` the acknowledgement of one covers all that were delivered before it.
pub async fn cumulative_ack_covers_all_before(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("cumulative")?;
    let options = ctx.group("all").cumulative().ack_wait(Duration::from_secs(2));
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await?;
    publish_numbers(&bus, &topic, 0..10).await?;
    let mut deliveries = Vec::new();
    for _ in 0..10 {
        deliveries.push(next(&mut subscription).await?);
    }
    let eighth = deliveries.swap_remove(7);
    assert_eq!(number(eighth.envelope()), 7);
    within("the confirmation", eighth.ack_confirmed()).await??;
    drop((deliveries, subscription));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let mut rest = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut subscription).await?;
        rest.push(number(delivery.envelope()));
        delivery.ack().await?;
    }
    assert_eq!(rest, [8, 9]);
    Ok(())
}

/// What is settled, in whatever way, does not come again, though its `ack_wait` passes.
pub async fn settled_never_comes_again(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("settled")?;
    let dead = ctx.topic("dead")?;
    let wait = Duration::from_secs(5);
    let options = ctx.group("all").ack_wait(wait).dead_letter(dead);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (0..4).map(|n| keyed("k", n))).await?;
    next(&mut subscription).await?.ack().await?;
    within("the confirmation", next(&mut subscription).await?.ack_confirmed()).await??;
    within("the dead letter", next(&mut subscription).await?.reject("no")).await??;
    let extended = next(&mut subscription).await?;
    extended.extend().await?;
    extended.ack().await?;
    nothing_for(&mut subscription, wait).await
}
