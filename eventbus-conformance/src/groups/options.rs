//! Options that are refused.

use std::time::Duration;

use eventbus_core::{ErrorKind, Ordering, SubscribeOptions, UndecodablePolicy};

use crate::{
    Context, Result,
    steps::{event, publish_all, take},
};

/// A group that exists with another `ack_wait` is not joined and not changed: the error
/// names the difference.
pub async fn other_options_on_an_existing_group_are_refused(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("conflict")?;
    let options = || ctx.group("all").ack_wait(Duration::from_secs(40));
    let mut subscription = bus.subscribe(&topic.filter(), options()).await?;
    let other = options().ack_wait(Duration::from_secs(50));
    let refused = bus.subscribe(&topic.filter(), other.clone()).await;
    let error = refused.expect_err("the group has another ack_wait");
    assert_eq!(error.kind(), ErrorKind::GroupConflict);
    let text = error.to_string();
    assert!(text.contains("ack_wait") || text.contains("ack wait"), "{text}");
    drop(bus.subscribe(&topic.filter(), options()).await?);
    publish_all(&bus, &topic, [event(1)]).await?;
    take(&mut subscription, 1).await?;
    // Also when nobody is in the group at the moment.
    drop(subscription);
    let refused = bus.subscribe(&topic.filter(), other).await;
    assert_eq!(refused.expect_err("still").kind(), ErrorKind::GroupConflict);
    Ok(())
}

/// Group names that would not work on every backend are refused on each.
pub async fn bad_group_names_are_refused(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("t")?;
    let long = "g".repeat(101);
    for name in ["", "a.b", "a b", "a*", "a>", "ä", "a/b", long.as_str()] {
        let refused = bus.subscribe(&topic.filter(), SubscribeOptions::group(name)).await;
        let error = refused.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name:?}: {error}");
    }
    Ok(())
}

/// Options that make no sense are refused before anything happens.
pub async fn bad_options_are_refused(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("t")?;
    let mut bad = vec![
        ctx.group("g").max_in_flight(0),
        ctx.group("g").ack_wait(Duration::ZERO),
        ctx.group("g").max_attempts(0),
        ctx.group("g").undecodable(UndecodablePolicy::DeadLetter),
    ];
    if bus.capabilities().cumulative_ack {
        bad.push(ctx.group("g").cumulative().ordering(Ordering::PerKey));
    }
    for options in bad {
        let refused = bus.subscribe(&topic.filter(), options.clone()).await;
        let error = refused.expect_err("bad options");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{options:?}: {error}");
    }
    Ok(())
}
