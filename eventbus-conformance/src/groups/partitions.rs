//! Partitions that come later.

use std::collections::BTreeSet;

use crate::{
    Context, Result,
    steps::{keyed, number, publish_all, take},
};

/// What goes to partitions that were added under a subscription is delivered, too.
pub async fn partitions_added_later_are_read(ctx: Context) -> Result {
    const MANY: u32 = 16;
    let bus = ctx.bus().await?;
    let topic = ctx.topic("growing")?;
    let events = |from: u64| (from..from + 100).map(|n| keyed(&format!("k{n}"), n));
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, events(0)).await?;
    take(&mut subscription, 100).await?;
    ctx.harness().add_partitions(&topic, MANY).await?;
    let writer = ctx.bus().await?;
    publish_all(&writer, &topic, events(100)).await?;
    let taken: BTreeSet<_> = take(&mut subscription, 100).await?.iter().map(number).collect();
    assert_eq!(taken, (100..200).collect::<BTreeSet<_>>());
    Ok(())
}
