//! What a publish or a bus may ask for.

use std::{sync::Arc, time::SystemTime};

use eventbus_core::{
    Error, ErrorKind, EventBus, EventBusExt, Provision, PublishOptions, Start, SubscribeOptions,
};

use crate::{
    Context, Result,
    steps::{event, next, number, read_all, ready_topic},
    within,
};

/// The same id, published idempotently again, is stored once.
pub async fn idempotent_publish_is_stored_once(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "idempotent").await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let (once, again) = (event(1).key("k"), event(2).key("k"));
    let options = || PublishOptions::new().idempotent();
    let mut duplicates = Vec::new();
    for envelope in [&once, &once, &again, &once] {
        let receipt = bus.publish_with_receipt_opts(&topic, envelope.clone(), options()).await?;
        duplicates.push(within("the receipt", receipt).await??.is_duplicate());
    }
    assert_eq!(duplicates, [false, true, false, true]);
    within("the marker", bus.publish_sync(&topic, event(3).key("k"))).await??;
    let mut deliveries = 0;
    loop {
        let delivery = next(&mut subscription).await?;
        let got = number(delivery.envelope());
        deliveries += usize::from(got == 1);
        delivery.ack().await?;
        if got == 3 {
            break;
        }
    }
    assert_eq!(deliveries, 1, "the same id was stored more than once");
    Ok(())
}

/// What needs a capability that the backend does not have fails before any I/O, and the
/// error names the capability.
pub async fn missing_capabilities_are_refused_by_name(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let capabilities = bus.capabilities();
    if !capabilities.idempotent_publish {
        publish_is_refused(&ctx, &bus, PublishOptions::new().idempotent(), "idempotent_publish")
            .await?;
    }
    if !capabilities.atomic_batch {
        publish_is_refused(&ctx, &bus, PublishOptions::new().atomic(), "atomic_batch").await?;
    }
    if !capabilities.cumulative_ack {
        let options = ctx.group("g").cumulative();
        subscribe_is_refused(&ctx, &bus, options, "cumulative_ack").await?;
    }
    if !capabilities.start_at_time {
        let options = ctx.group("g").start(Start::Time(SystemTime::now()));
        subscribe_is_refused(&ctx, &bus, options, "start_at_time").await?;
    }
    assert_eq!(bus.stats().published, 0);
    Ok(())
}

async fn publish_is_refused(
    ctx: &Context,
    bus: &Arc<dyn EventBus>,
    options: PublishOptions,
    capability: &str,
) -> Result {
    let refused = bus.publish_opts(&ctx.topic("t")?, event(1), options).await;
    assert_names(refused.expect_err(capability).error(), capability);
    Ok(())
}

async fn subscribe_is_refused(
    ctx: &Context,
    bus: &Arc<dyn EventBus>,
    options: SubscribeOptions,
    capability: &str,
) -> Result {
    let refused = bus.subscribe(&ctx.topic("t")?.filter(), options).await;
    assert_names(&refused.expect_err(capability), capability);
    Ok(())
}

fn assert_names(error: &Error, capability: &str) {
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let named = error.context().any(|(_, value)| value == capability);
    assert!(named, "{error} does not name {capability}");
}

/// With `provision=verify` an unknown topic is refused, with the envelope, until somebody
/// creates it.
pub async fn verified_topics_must_exist(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.provision = Provision::Verify).await?;
    let topic = ctx.topic("verified")?;
    let refused = within("the refusal", bus.publish_sync(&topic, event(1))).await?;
    let refused = refused.expect_err("the topic does not exist");
    assert_eq!(refused.kind(), ErrorKind::TopicNotFound);
    assert_eq!(number(refused.envelope()), 1);
    bus.ensure_topic(&topic).await?;
    within("the receipt", bus.publish_sync(&topic, event(2))).await??;
    let stored = read_all(&bus, &topic, 1).await?;
    assert_eq!(number(&stored[0]), 2);
    Ok(())
}

/// `ensure_topic` creates a topic, and is content with one that exists.
pub async fn ensure_topic_creates_once_and_again(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.provision = Provision::Verify).await?;
    let topic = ctx.topic("ensured")?;
    for n in 0..3 {
        within("the topic", bus.ensure_topic(&topic)).await??;
        within("the receipt", bus.publish_sync(&topic, event(n))).await??;
    }
    assert_eq!(read_all(&bus, &topic, 3).await?.len(), 3);
    let health = bus.health().await;
    assert!(health.is_healthy(), "{health:?}");
    Ok(())
}
