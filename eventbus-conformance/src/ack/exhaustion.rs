//! `max_attempts`.

use std::time::Duration;

use eventbus_core::{DeliveryInfo, Ordering, dead_letter};
use futures_util::future::{Either, select};

use crate::{
    Context, Result,
    steps::{
        assert_letter, keyed, next, no_dead_letters, number, publish_all, read_all, take_until,
    },
    within,
};

/// The last nack that `max_attempts` allows moves the message to the dead-letter topic.
pub async fn nacks_beyond_max_attempts_move_to_the_dead_letters(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("failing")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone()).max_attempts(3);
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await?;
    let original = keyed("k", 1);
    publish_all(&bus, &topic, [original.clone()]).await?;
    let mut info = None;
    for attempt in 1..=3 {
        let delivery = next(&mut subscription).await?;
        assert_eq!(delivery.attempt(), attempt);
        let (position, at) = (delivery.position().clone(), delivery.published_at());
        info = Some(DeliveryInfo::new(position, attempt, at));
        within("the nack", delivery.nack(Duration::ZERO)).await??;
    }
    let letters = read_all(&bus, &dead, 1).await?;
    let info = info.expect("there were three attempts");
    let group = options.group.as_deref();
    assert_letter(&letters[0], &original, &info, group, dead_letter::EXHAUSTED);
    publish_all(&bus, &topic, [keyed("k", 2)]).await?;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    Ok(())
}

/// A message that was left unsettled `max_attempts` times moves to the dead-letter topic
/// without being handed out once more.
pub async fn expiries_beyond_max_attempts_move_to_the_dead_letters(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("expiring")?, ctx.topic("dead")?);
    let options = ctx
        .group("all")
        .dead_letter(dead.clone())
        .max_attempts(2)
        .ack_wait(Duration::from_millis(500));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let original = keyed("k", 1);
    publish_all(&bus, &topic, [original.clone()]).await?;
    let mut letters = Box::pin(read_all(&bus, &dead, 1));
    let mut attempts = Vec::new();
    let letters = loop {
        let delivery = Box::pin(next(&mut subscription));
        match select(letters, delivery).await {
            Either::Left((found, _)) => break found?,
            Either::Right((delivery, waiting)) => {
                attempts.push(delivery?.attempt());
                letters = waiting;
            }
        }
    };
    assert_eq!(attempts, [1, 2]);
    assert_eq!(letters[0].id(), original.id());
    assert_eq!(letters[0].header(dead_letter::REASON), Some(dead_letter::EXHAUSTED));
    Ok(())
}

/// Without a dead-letter topic an exhausted message is dropped, and the rest goes on.
pub async fn exhausted_without_a_dead_letter_topic_is_dropped(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("failing")?;
    let options = ctx.group("all").max_attempts(2);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [keyed("k", 1)]).await?;
    for _ in 0..2 {
        let delivery = next(&mut subscription).await?;
        assert_eq!(number(delivery.envelope()), 1);
        within("the nack", delivery.nack(Duration::ZERO)).await??;
    }
    publish_all(&bus, &topic, [keyed("k", 2)]).await?;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    Ok(())
}

/// With `PerKey` a message that blocks its key is out of the way once it is exhausted.
pub async fn exhausted_head_lets_its_key_go_on(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("failing")?, ctx.topic("dead")?);
    let options =
        ctx.group("all").ordering(Ordering::PerKey).dead_letter(dead.clone()).max_attempts(2);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (1..=3).map(|n| keyed("k", n))).await?;
    for _ in 0..2 {
        let delivery = next(&mut subscription).await?;
        assert_eq!(number(delivery.envelope()), 1);
        within("the nack", delivery.nack(Duration::from_millis(50))).await??;
    }
    assert_eq!(take_until(&mut subscription, 3).await?, [2, 3]);
    assert_eq!(number(&read_all(&bus, &dead, 1).await?[0]), 1);
    Ok(())
}

/// Attempts that a shutdown cut short do not exhaust a message.
pub async fn shutdown_is_no_reason(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("restarted")?, ctx.topic("dead")?);
    let options =
        ctx.group("all").dead_letter(dead.clone()).max_attempts(1).ack_wait(Duration::from_secs(2));
    publish_all(&bus, &topic, [keyed("k", 1)]).await?;
    for round in 0..4 {
        let consumer =
            ctx.bus_with(|r| r.config.close_timeout = Duration::from_millis(100)).await?;
        let mut subscription = consumer.subscribe(&topic.filter(), options.clone()).await?;
        let held = next(&mut subscription).await?;
        assert_eq!(number(held.envelope()), 1, "round {round}");
        within("the close", consumer.close()).await??;
    }
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let last = next(&mut subscription).await?;
    assert_eq!(number(last.envelope()), 1);
    last.ack().await?;
    no_dead_letters(&bus, &dead, "k").await
}
