//! Raw topics: what other programs write can be read, and what they read can be written.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use eventbus_core::{
    Envelope, ErrorKind, EventBus, EventBusExt, OCTET_STREAM, Ordering, RawTopics, dead_letter,
};
use uuid::Uuid;

use crate::{
    Context, Result,
    scenario::{need::PLANT, table},
    steps::{keyed, next, number, publish_all, read_all, take_numbers},
    within,
};

table! { "raw":
    raw_envelopes_keep_every_field,
    raw_headers_that_are_fields_are_refused,
    raw_and_other_topics_mix_in_one_subscription,
    raw_messages_of_others_are_read needs [PLANT],
    raw_messages_keep_the_order_of_keys,
    raw_messages_become_dead_letters,
}

/// A bus for which the scenario's topics below `raw` are raw.
async fn raw_bus(ctx: &Context) -> Result<Arc<dyn EventBus>> {
    let raw = ctx.filter("raw.>")?;
    ctx.bus_with(|request| request.config.raw = RawTopics::new([raw])).await
}

/// Every field comes back as it was: those with values, the empty ones, the defaults.
pub async fn raw_envelopes_keep_every_field(ctx: Context) -> Result {
    let bus = raw_bus(&ctx).await?;
    let topic = ctx.topic("raw.fields")?;
    let every_byte: Vec<u8> = (0..=255).collect();
    let full = Envelope::new("order.créé ✓", every_byte)
        .key("key with spaces, ütf-8 and \"quotes\"")
        .with_event_version(u32::MAX)
        .with_source("shop/1")
        .with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456))
        .with_correlation_id("corr: elation")
        .with_causation_id(Uuid::from_u128(u128::MAX))
        .with_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b,c=d")
        .with_content_type("application/x-strange; q=\"1\"")
        // By name, as not every backend keeps the order of headers.
        .with_header("CASE", "upper")
        .with_header("case", "lower")
        .with_header("empty", "")
        .with_header("tenant", "значение 🚌");
    let empty = Envelope::new("", Vec::new()).with_content_type("").with_correlation_id("");
    let default = Envelope::new(&topic, "x").with_content_type(OCTET_STREAM);
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    for envelope in [full, empty, default] {
        within("the receipt", bus.publish_sync(&topic, envelope.clone())).await??;
        let delivery = next(&mut subscription).await?;
        assert_eq!(delivery.envelope().headers(), envelope.headers());
        assert!(delivery.envelope() == &envelope, "not {envelope:?}: {delivery:?}");
        delivery.ack().await?;
    }
    Ok(())
}

/// A header that a reader would take for a field is refused before anything is sent.
pub async fn raw_headers_that_are_fields_are_refused(ctx: Context) -> Result {
    let bus = raw_bus(&ctx).await?;
    let topic = ctx.topic("raw.refused")?;
    let published = bus.stats().published;
    for name in ["eb-id", "Content-Type", "traceparent"] {
        let envelope = keyed("k", 1).with_header(name, "x");
        let refused = bus.publish(&topic, envelope.clone()).await.expect_err("a field's name");
        assert_eq!(refused.kind(), ErrorKind::InvalidEnvelope);
        assert!(refused.to_string().contains(name), "{refused}");
        assert!(refused.envelope() == &envelope, "another envelope came back");
    }
    assert_eq!(bus.stats().published, published);
    // Elsewhere they are headers like any other.
    let topic = ctx.topic("other")?;
    let envelope = keyed("k", 1).with_header("eb-id", "x");
    within("the receipt", bus.publish_sync(&topic, envelope.clone())).await??;
    let read = read_all(&bus, &topic, 1).await?;
    assert!(read[0] == envelope, "it came back changed");
    Ok(())
}

/// One subscription reads raw topics and others.
pub async fn raw_and_other_topics_mix_in_one_subscription(ctx: Context) -> Result {
    let bus = raw_bus(&ctx).await?;
    let topics = [ctx.topic("raw.mixed")?, ctx.topic("mixed")?];
    for (topic, n) in topics.iter().zip(1..) {
        let envelope = keyed("k", n).with_source("shop").with_header("tenant", "acme");
        publish_all(&bus, topic, [envelope]).await?;
    }
    let mut read = read_all(&bus, ctx.filter(">")?, 2).await?;
    read.sort_by_key(number);
    for (envelope, n) in read.iter().zip(1..) {
        assert_eq!((number(envelope), envelope.aggregate_id()), (n, Some("k")));
        assert_eq!((envelope.source(), envelope.header("tenant")), ("shop", Some("acme")));
    }
    Ok(())
}

/// A body that another program wrote is the payload, the topic is the type, the broker's time
/// the timestamp, and the id is the same each time.
pub async fn raw_messages_of_others_are_read(ctx: Context) -> Result {
    const BODY: &[u8] = b"{\"no\": \"envelope\"}";
    let bus = raw_bus(&ctx).await?;
    let topic = ctx.topic("raw.foreign")?;
    bus.ensure_topic(&topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    ctx.harness().plant(&topic, Bytes::from_static(BODY)).await?;
    let delivery = next(&mut subscription).await?;
    let envelope = delivery.envelope().clone();
    assert_eq!(envelope.payload().as_ref(), BODY);
    assert_eq!(envelope.event_type(), topic.as_str());
    assert_eq!((envelope.content_type(), envelope.aggregate_id()), (OCTET_STREAM, None));
    let apart = delivery.published_at().duration_since(envelope.timestamp());
    assert!(apart.as_ref().is_ok_and(|apart| *apart < Duration::from_micros(1)), "{apart:?}");
    delivery.nack(Duration::ZERO).await?;
    let again = next(&mut subscription).await?;
    assert_eq!((again.envelope().id(), again.attempt()), (envelope.id(), 2));
    again.ack().await?;
    let read = read_all(&bus, &topic, 1).await?;
    assert_eq!(read[0].id(), envelope.id());
    Ok(())
}

/// The key of a raw message is that of `Ordering::PerKey`: what is nacked keeps its successors
/// behind it, and no others.
pub async fn raw_messages_keep_the_order_of_keys(ctx: Context) -> Result {
    let bus = raw_bus(&ctx).await?;
    let topic = ctx.topic("raw.keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (1..=3).map(|n| keyed("a", n))).await?;
    let first = next(&mut subscription).await?;
    assert_eq!(number(first.envelope()), 1);
    publish_all(&bus, &topic, [keyed("b", 10)]).await?;
    let other = next(&mut subscription).await?;
    assert_eq!(number(other.envelope()), 10, "a second one of a key that is held");
    other.ack().await?;
    first.nack(Duration::ZERO).await?;
    assert_eq!(take_numbers(&mut subscription, 3).await?, [1, 2, 3]);
    Ok(())
}

/// A rejected raw message becomes a dead letter in the format of the dead-letter topic.
pub async fn raw_messages_become_dead_letters(ctx: Context) -> Result {
    let bus = raw_bus(&ctx).await?;
    for dead in [ctx.topic("dead")?, ctx.topic("raw.dead")?] {
        let topic = ctx.topic(&format!("raw.of.{dead}"))?;
        let envelope = keyed("k", 1).with_source("shop").with_header("tenant", "acme");
        publish_all(&bus, &topic, [envelope.clone()]).await?;
        let options = ctx.group(&dead.as_str().replace('.', "-")).dead_letter(dead.clone());
        let mut subscription = bus.subscribe(&topic.filter(), options).await?;
        let delivery = next(&mut subscription).await?;
        let position = delivery.position().to_string();
        within("the dead letter", delivery.reject("no use")).await??;
        let letters = read_all(&bus, &dead, 1).await?;
        let letter = &letters[0];
        assert_eq!((letter.id(), letter.payload()), (envelope.id(), envelope.payload()));
        assert_eq!((letter.event_type(), letter.source()), (envelope.event_type(), "shop"));
        for (name, value) in [
            ("tenant", "acme"),
            (dead_letter::REASON, "no use"),
            (dead_letter::ATTEMPTS, "1"),
            (dead_letter::TOPIC, topic.as_str()),
            (dead_letter::POSITION, &position),
        ] {
            assert_eq!(letter.header(name), Some(value), "{name}");
        }
    }
    Ok(())
}
