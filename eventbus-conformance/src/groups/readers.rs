//! Readers without a group.

use std::time::Duration;

use eventbus_core::{Start, SubscribeOptions};

use crate::{
    Context, Result, let_pass,
    steps::{
        keyed, next, number, publish_numbers, publish_until_stored, settle, take_numbers,
        take_until,
    },
};

fn from_the_start() -> SubscribeOptions {
    SubscribeOptions::new().start(Start::Earliest)
}

/// Each reader without a group gets its own copy of everything.
pub async fn readers_without_a_group_each_get_all(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("copied")?;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(bus.subscribe(&topic.filter(), SubscribeOptions::new()).await?);
    }
    publish_numbers(&bus, &topic, 0..50).await?;
    for reader in &mut readers {
        assert_eq!(take_numbers(reader, 50).await?, (0..50).collect::<Vec<_>>());
    }
    Ok(())
}

/// What a reader has acknowledged means nothing to the next one.
pub async fn readers_leave_no_position(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("forgotten")?;
    publish_numbers(&bus, &topic, 0..10).await?;
    for _ in 0..3 {
        let mut reader = bus.subscribe(&topic.filter(), from_the_start()).await?;
        assert_eq!(take_numbers(&mut reader, 6).await?, [0, 1, 2, 3, 4, 5]);
    }
    Ok(())
}

/// While it lives, a reader gets what it did not settle again, like a group does.
pub async fn readers_get_unsettled_ones_again(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("again")?;
    let options = SubscribeOptions::new().ack_wait(Duration::from_millis(500));
    let mut reader = bus.subscribe(&topic.filter(), options).await?;
    publish_numbers(&bus, &topic, [1]).await?;
    let first = next(&mut reader).await?;
    settle(first.nack(Duration::ZERO).await)?;
    let second = next(&mut reader).await?;
    assert!(second.attempt() > 1);
    drop(second);
    let mut third = next(&mut reader).await?;
    assert_eq!(number(third.envelope()), 1);
    while !settle(third.ack().await)? {
        third = next(&mut reader).await?;
    }
    Ok(())
}

/// The broker restarts under a reader: it misses nothing, and what it acknowledged does not
/// all come back.
pub async fn reader_survives_a_broker_restart(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("outage")?;
    let mut reader = bus.subscribe(&topic.filter(), SubscribeOptions::new()).await?;
    publish_numbers(&bus, &topic, 0..100).await?;
    assert_eq!(take_numbers(&mut reader, 100).await?.len(), 100);
    ctx.harness().restart_broker().await?;
    let writer = ctx.bus().await?;
    publish_numbers(&writer, &topic, 100..200).await?;
    let after = take_until(&mut reader, 199).await?;
    let missed: Vec<_> = (100..200).filter(|n| !after.contains(n)).collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
    let again = after.iter().filter(|n| **n < 100).count();
    assert!(again <= 1, "{again} acknowledged ones came again");
    Ok(())
}

/// The broker freezes for longer than it keeps readers that it does not hear of: the reader
/// goes on where it was.
pub async fn reader_survives_a_long_pause(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("outage")?;
    let mut reader = bus.subscribe(&topic.filter(), SubscribeOptions::new()).await?;
    publish_numbers(&bus, &topic, 0..20).await?;
    assert_eq!(take_numbers(&mut reader, 20).await?.len(), 20);
    ctx.harness().pause_broker().await?;
    let_pass(Duration::from_secs(15)).await;
    ctx.harness().resume_broker().await?;
    let writer = ctx.bus().await?;
    for n in 20..40 {
        publish_until_stored(&writer, &topic, keyed("one", n)).await?;
    }
    let after = take_until(&mut reader, 39).await?;
    let missed: Vec<_> = (20..40).filter(|n| !after.contains(n)).collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
    Ok(())
}
