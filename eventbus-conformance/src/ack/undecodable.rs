//! Messages that are no envelopes.

use std::time::Duration;

use bytes::Bytes;
use eventbus_core::{
    ErrorKind, ReceiveError, Subscription, Undecodable, UndecodablePolicy, dead_letter,
};

use crate::{
    Context, Failure, Result,
    steps::{keyed, next, next_item, publish_all, read_all, take_until, while_polling},
    within,
};

const FOREIGN: &[u8] = b"{\"no\": \"envelope\"}";

async fn next_undecodable(subscription: &mut Subscription) -> Result<Box<Undecodable>> {
    match next_item(subscription).await? {
        Err(ReceiveError::Undecodable(message)) => Ok(message),
        other => Err(Failure::new(format!("instead of foreign bytes: {other:?}"))),
    }
}

/// With a dead-letter topic, foreign bytes move there by themselves, and the stream goes on.
pub async fn undecodable_moves_to_the_dead_letters(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("foreign")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone());
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    ctx.harness().plant(&topic, Bytes::from_static(FOREIGN)).await?;
    publish_all(&bus, &topic, [keyed("k", 2)]).await?;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    let letters = read_all(&bus, &dead, 1);
    let letters = while_polling(&mut subscription, letters).await?;
    assert_eq!(letters[0].payload().as_ref(), FOREIGN);
    assert_eq!(letters[0].event_type(), dead_letter::UNDECODABLE_TYPE);
    assert_eq!(letters[0].header(dead_letter::TOPIC), Some(topic.as_str()));
    let reason = letters[0].header(dead_letter::REASON).unwrap_or_default();
    assert!(reason.contains("undecodable"), "{reason}");
    Ok(())
}

/// Without one, foreign bytes are yielded, with their position, and are settled like a
/// delivery.
pub async fn undecodable_is_yielded_and_settleable(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("foreign")?;
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    ctx.harness().plant(&topic, Bytes::from_static(FOREIGN)).await?;
    let message = next_undecodable(&mut subscription).await?;
    assert_eq!(message.bytes().as_ref(), FOREIGN);
    assert_eq!(message.error().kind(), ErrorKind::Undecodable);
    assert_eq!((message.info().topic(), message.info().attempt), (&topic, 1));
    message.nack(Duration::ZERO).await?;
    let message = next_undecodable(&mut subscription).await?;
    assert_eq!(message.info().attempt, 2);
    message.ack().await?;
    publish_all(&bus, &topic, [keyed("k", 2)]).await?;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    Ok(())
}

/// `UndecodablePolicy::Yield` yields them in spite of a dead-letter topic, and rejecting
/// moves them there.
pub async fn undecodable_is_yielded_in_spite_of_a_dead_letter_topic(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("foreign")?, ctx.topic("dead")?);
    let options = ctx.group("all").dead_letter(dead.clone()).undecodable(UndecodablePolicy::Yield);
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    ctx.harness().plant(&topic, Bytes::from_static(FOREIGN)).await?;
    let message = next_undecodable(&mut subscription).await?;
    within("the dead letter", message.reject("foreign")).await??;
    let letters = read_all(&bus, &dead, 1).await?;
    assert_eq!(letters[0].payload().as_ref(), FOREIGN);
    assert_eq!(letters[0].header(dead_letter::REASON), Some("foreign"));
    Ok(())
}

/// What others write by mistake or in malice: nothing, noise, half an envelope, an envelope of a
/// version that does not exist yet, a large blob.
fn strange() -> Vec<Bytes> {
    let envelope = keyed("k", 1).to_bytes();
    let mut future = envelope.to_vec();
    future[0] = future[0].wrapping_add(1);
    let mut noise = 0x9E37_79B9_u32;
    let noise = (0..256).map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    vec![
        Bytes::new(),
        noise.collect(),
        envelope.slice(..envelope.len() / 2),
        envelope.slice(..1),
        future.into(),
        vec![0xFF; 512 << 10].into(),
    ]
}

/// Foreign bytes of every kind are yielded as they are, each can be settled, and what comes
/// after them is delivered.
pub async fn foreign_messages_of_every_kind_are_settleable(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("foreign")?;
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    for bytes in strange() {
        ctx.harness().plant(&topic, bytes.clone()).await?;
        let message = next_undecodable(&mut subscription).await?;
        assert!(message.bytes() == &bytes, "{} bytes came as {message:?}", bytes.len());
        message.ack().await?;
    }
    publish_all(&bus, &topic, [keyed("k", 2)]).await?;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    Ok(())
}

/// So are foreign bytes behind many and large headers (brokers take some 64 KiB of them), and an
/// envelope with such headers is an envelope.
pub async fn foreign_headers_disturb_nobody(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("foreign")?;
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let many = (0..200).map(|n| (format!("x-{n}"), "v".repeat(n)));
    let large =
        [("x-large".to_owned(), "v".repeat(24 << 10)), ("x-empty".to_owned(), String::new())];
    let headers: Vec<_> = many.chain(large).collect();
    let foreign = Bytes::from_static(FOREIGN);
    ctx.harness().plant_with_headers(&topic, &headers, foreign.clone()).await?;
    let message = next_undecodable(&mut subscription).await?;
    assert_eq!(message.bytes(), &foreign);
    message.ack().await?;
    let envelope = keyed("k", 2);
    ctx.harness().plant_with_headers(&topic, &headers, envelope.to_bytes()).await?;
    let delivery = next(&mut subscription).await?;
    assert!(delivery.envelope() == &envelope, "{delivery:?}");
    delivery.ack().await?;
    Ok(())
}
