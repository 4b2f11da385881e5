//! What goes in comes out.

use std::time::{Duration, SystemTime};

use eventbus_core::{Envelope, ErrorKind, EventBusExt};
use uuid::Uuid;

use crate::{
    Context, Result,
    steps::{event, next},
    within,
};

/// Every field comes back as it was, and headers may hold any strings.
pub async fn every_field_and_hostile_headers_survive(ctx: Context) -> Result {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut envelope = Envelope::new("order.créé ✓", every_byte)
        .key("key with spaces, ütf-8 and \"quotes\"")
        .with_event_version(u32::MAX)
        .with_source("shop/1 \u{0}")
        .with_timestamp(SystemTime::UNIX_EPOCH + Duration::from_micros(1_234_567_890_123_456))
        .with_correlation_id("corr\r\nelation")
        .with_causation_id(Uuid::from_u128(u128::MAX))
        .with_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b,c=d")
        .with_content_type("application/x-strange; q=\"1\"");
    for (name, value) in [
        ("", ""),
        ("Nats-Msg-Id", "not yours"),
        ("colon: space", "line\r\nbreak: injected"),
        ("nul\u{0}", "\u{0}"),
        ("case", "lower"),
        ("CASE", "upper"),
        ("ключ", "значение 🚌"),
        ("tab\t", " leading and trailing "),
    ] {
        envelope = envelope.with_header(name, value);
    }
    survives(ctx, envelope).await
}

/// An empty payload, with hardly anything around it.
pub async fn empty_payload_survives(ctx: Context) -> Result {
    survives(ctx, Envelope::new("", Vec::new()).with_content_type("")).await
}

async fn survives(ctx: Context, envelope: Envelope) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("fields")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    within("the receipt", bus.publish_sync(&topic, envelope.clone())).await??;
    let delivery = next(&mut subscription).await?;
    assert_eq!(delivery.envelope(), &envelope);
    assert_eq!(delivery.envelope().payload(), envelope.payload());
    assert_eq!(delivery.topic(), &topic);
    delivery.ack().await?;
    Ok(())
}

/// The limit counts encoded bytes: exactly so many are delivered, one more is refused and
/// comes back.
pub async fn exactly_max_envelope_bytes_and_one_more(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("large")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let largest = ctx.largest_envelope(&bus, "k");
    within("the receipt", bus.publish_sync(&topic, largest.clone())).await??;
    let delivery = next(&mut subscription).await?;
    assert!(delivery.envelope() == &largest, "it came back changed");
    delivery.ack().await?;

    let payload = [largest.payload(), &[0][..]].concat();
    let larger = largest.with_payload(payload);
    let refused = bus.publish(&topic, larger.clone()).await;
    let refused = refused.expect_err("one byte too many");
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert!(refused.envelope() == &larger, "another envelope came back");
    assert_eq!(bus.stats().published, 1);
    Ok(())
}

/// Where the receipt tells a position, the delivery comes from it.
pub async fn receipt_names_where_it_is_delivered_from(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("positions")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    for n in 0..3 {
        let receipt = within("the receipt", bus.publish_sync(&topic, event(n))).await??;
        let delivery = next(&mut subscription).await?;
        assert_eq!(delivery.position().topic(), &topic);
        if let Some(position) = receipt.position() {
            assert_eq!(position, delivery.position());
        }
        let text = delivery.position().to_string();
        assert_eq!(&text.parse::<eventbus_core::Position>()?, delivery.position());
        delivery.ack().await?;
    }
    Ok(())
}

/// The broker's time of a message is the time at which it was published.
pub async fn delivery_tells_when_it_was_published(ctx: Context) -> Result {
    // The clocks of two machines may differ, not by an hour.
    const HOUR: Duration = Duration::from_secs(3600);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("times")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let long_ago = event(1).with_timestamp(SystemTime::UNIX_EPOCH + HOUR);
    within("the receipt", bus.publish_sync(&topic, long_ago.clone())).await??;
    let delivery = next(&mut subscription).await?;
    let (at, now) = (delivery.published_at(), SystemTime::now());
    assert!(at > now - HOUR && at < now + HOUR, "{at:?}");
    assert_eq!(delivery.envelope().timestamp(), long_ago.timestamp());
    delivery.ack().await?;
    Ok(())
}
