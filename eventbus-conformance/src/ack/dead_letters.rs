//! Rejecting, and what happens when the dead letter cannot be stored.

use std::time::Duration;

use eventbus_core::{DeliveryInfo, ErrorKind, EventBusExt, Provision};

use crate::{
    Context, Result,
    publish::broken,
    steps::{
        assert_letter, event, keyed, next, nothing_for, number, publish_all, read_all, settle,
        take_until,
    },
    wait::{LONG, is_pending},
    within,
};

/// A rejected delivery moves to the dead-letter topic: the same envelope, with the reason
/// and where it comes from. It does not come again.
pub async fn reject_moves_to_the_dead_letters_with_the_reason(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("rejected")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone());
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await?;
    let original = keyed("k", 1).with_header("own", "header").with_source("test");
    publish_all(&bus, &topic, [original.clone(), keyed("k", 2)]).await?;
    let delivery = next(&mut subscription).await?;
    let info = DeliveryInfo::new(delivery.position().clone(), 1, delivery.published_at());
    within("the dead letter", delivery.reject("no such customer: 7")).await??;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    let letters = read_all(&bus, &dead, 1).await?;
    let group = options.group.as_deref();
    assert_letter(&letters[0], &original, &info, group, "no such customer: 7");
    assert_eq!(bus.stats().dead_lettered, 1);
    Ok(())
}

/// Without a dead-letter topic a rejected delivery is done with.
pub async fn reject_without_a_dead_letter_topic_is_done(ctx: Context) -> Result {
    const WAIT: Duration = Duration::from_secs(3);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("rejected")?;
    let options = ctx.group("all").ack_wait(WAIT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [keyed("k", 1), keyed("k", 2)]).await?;
    within("the rejection", next(&mut subscription).await?.reject("no")).await??;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    nothing_for(&mut subscription, WAIT).await?;
    assert_eq!((bus.stats().settled, bus.stats().dead_lettered), (2, 0));
    Ok(())
}

/// A reject that is cancelled while the dead letter is on its way leaves the original
/// unsettled: it comes again.
pub async fn cancelled_reject_loses_nothing(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.ack_timeout = LONG).await?;
    let (topic, dead) = (ctx.topic("rejected")?, ctx.topic("dead")?);
    within("the first letter", bus.publish_sync(&dead, event(0))).await??;
    let options = ctx.group("all").dead_letter(dead).ack_wait(Duration::from_secs(2));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [event(1)]).await?;
    let delivery = next(&mut subscription).await?;
    let held = ctx.hold_acks(&bus)?;
    {
        let mut reject = std::pin::pin!(delivery.reject("cancelled"));
        assert!(is_pending(&mut reject), "the dead letter is unanswered");
    }
    held.release();
    let mut again = next(&mut subscription).await?;
    assert_eq!(number(again.envelope()), 1);
    while !settle(again.ack().await)? {
        again = next(&mut subscription).await?;
    }
    Ok(())
}

/// While the dead-letter topic refuses, a reject fails and gives the delivery back,
/// unsettled; later it succeeds.
pub async fn unavailable_dead_letter_topic_keeps_the_original(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("rejected")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone()).max_attempts(1).ack_wait(LONG);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [event(1)]).await?;
    let faults = ctx.faults(&bus)?;
    faults.refuse_topic(&dead, broken());
    let delivery = next(&mut subscription).await?;
    let refused = within("the refusal", delivery.reject("no")).await?;
    let (error, delivery) = refused.expect_err("the topic refuses").into_parts();
    assert_eq!(error.kind(), broken().kind());
    // The last attempt, so this too is a dead letter.
    let refused = within("the refusal", delivery.nack(Duration::ZERO)).await?;
    let (_, delivery) = refused.expect_err("the topic refuses").into_parts();
    assert_eq!(bus.stats().dead_lettered, 0);
    faults.allow_topic(&dead);
    within("the dead letter", delivery.reject("no")).await??;
    assert_eq!(read_all(&bus, &dead, 1).await?.len(), 1);
    assert_eq!(bus.stats().dead_lettered, 1);
    Ok(())
}

/// A dead-letter topic that does not exist and may not be created keeps the original, too.
pub async fn missing_dead_letter_topic_keeps_the_original(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.provision = Provision::Verify).await?;
    let (topic, dead) = (ctx.topic("rejected")?, ctx.topic("dead")?);
    bus.ensure_topic(&topic).await?;
    let options = ctx.group("all").dead_letter(dead.clone()).ack_wait(LONG);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [event(1)]).await?;
    let delivery = next(&mut subscription).await?;
    let refused = within("the refusal", delivery.reject("no")).await?;
    let (error, delivery) = refused.expect_err("there is no such topic").into_parts();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound);
    bus.ensure_topic(&dead).await?;
    within("the dead letter", delivery.reject("no")).await??;
    assert_eq!(read_all(&bus, &dead, 1).await?.len(), 1);
    Ok(())
}

/// A dead-letter topic that the subscription itself would read is refused.
pub async fn dead_letter_topic_in_the_own_filter_is_refused(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    for (filter, dead) in [("a.>", "a.dead"), ("*.dead", "a.dead"), ("a", "a")] {
        let options = ctx.group("all").dead_letter(ctx.topic(dead)?);
        let refused = bus.subscribe(&ctx.filter(filter)?, options).await;
        let error = refused.expect_err("dead letters would come back for ever");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{filter} {dead}");
    }
    let outside = ctx.group("all").dead_letter(ctx.topic("dead.a")?);
    bus.subscribe(&ctx.filter("a.>")?, outside).await?;
    Ok(())
}

/// The largest envelope that can be published can become a dead letter, with a long reason.
pub async fn largest_envelope_can_become_a_dead_letter(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("large")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone());
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let largest = ctx.largest_envelope(&bus, "k");
    publish_all(&bus, &topic, [largest.clone()]).await?;
    let reason = "because ".repeat(10_000);
    let delivery = next(&mut subscription).await?;
    within("the dead letter", delivery.reject(&reason)).await??;
    let letters = read_all(&bus, &dead, 1).await?;
    assert!(letters[0].payload() == largest.payload(), "another payload");
    assert_eq!(letters[0].id(), largest.id());
    Ok(())
}
