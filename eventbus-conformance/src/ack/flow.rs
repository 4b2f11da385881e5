//! How much is handed out at once.

use std::{sync::Arc, time::Duration};

use eventbus_core::{EventBus, Health};

use crate::{
    Context, Result,
    steps::{ack_all_of, event, health_becomes, next, publish_all, take},
    wait::is_pending,
};

/// Waits until the only subscription of `bus` reports that it waits at its limit.
async fn stalled(bus: &Arc<dyn EventBus>) -> Result<Health> {
    health_becomes(bus, "stalled", |health| {
        health.subscriptions.iter().any(|s| s.stalled.is_some())
    })
    .await
}

/// With `max_in_flight` unsettled nothing more is handed out, and each settlement lets one
/// more through.
pub async fn max_in_flight_holds_back_the_rest(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("limited")?;
    let options = ctx.group("all").max_in_flight(5);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (0..50).map(event)).await?;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut subscription).await?);
    }
    for _ in 0..10 {
        {
            let mut sixth = std::pin::pin!(subscription.next());
            assert!(is_pending(&mut sixth), "a sixth one was handed out");
        }
        let health = stalled(&bus).await?;
        assert_eq!(health.subscriptions[0].in_flight, 5);
        {
            let mut sixth = std::pin::pin!(subscription.next());
            assert!(is_pending(&mut sixth), "a sixth one was handed out");
        }
        held.remove(0).ack().await?;
        held.push(next(&mut subscription).await?);
    }
    ack_all_of(held).await?;
    assert_eq!(take(&mut subscription, 35).await?.len(), 35);
    Ok(())
}

/// A subscription that waits at its limit is a problem in the health, with its name and for
/// how long, until something is settled.
pub async fn stall_is_visible_in_health(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    assert!(bus.health().await.is_healthy());
    let topic = ctx.topic("limited")?;
    let options = ctx.group("all").max_in_flight(2);
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await?;
    publish_all(&bus, &topic, (0..4).map(event)).await?;
    let held = vec![next(&mut subscription).await?, next(&mut subscription).await?];
    {
        let mut third = std::pin::pin!(subscription.next());
        assert!(is_pending(&mut third));
    }
    let health = stalled(&bus).await?;
    assert!(!health.is_healthy());
    let named = health.problems.iter().any(|problem| problem.contains(topic.as_str()));
    assert!(named, "{:?}", health.problems);
    assert_eq!(health.subscriptions[0].group, options.group);
    let longer = |health: &Health| {
        let stalled = health.subscriptions.first().and_then(|s| s.stalled);
        stalled.is_some_and(|for_how_long| for_how_long >= Duration::from_millis(50))
    };
    health_becomes(&bus, "stalled for a while", longer).await?;
    ack_all_of(held).await?;
    take(&mut subscription, 2).await?;
    health_becomes(&bus, "healthy again", Health::is_healthy).await?;
    Ok(())
}
