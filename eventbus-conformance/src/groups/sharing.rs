//! Groups and their members.

use std::{collections::HashSet, sync::Arc};

use eventbus_core::{EventBus, Topic};

use crate::{
    Context, Result, eventually,
    steps::{Member, event, keyed, number, publish_all, take},
};

/// Fifty more events, of fifty keys.
async fn fifty(bus: &Arc<dyn EventBus>, topic: &Topic, round: u64) -> Result {
    let events = (0..50).map(|n| keyed(&format!("k{n}"), round * 50 + n));
    publish_all(bus, topic, events).await
}

/// Each group gets everything, whatever the other does.
pub async fn two_groups_each_get_all(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("shared")?;
    let mut one = bus.subscribe(&topic.filter(), ctx.group("one")).await?;
    let mut two = bus.subscribe(&topic.filter(), ctx.group("two")).await?;
    publish_all(&bus, &topic, (0..100).map(event)).await?;
    for subscription in [&mut one, &mut two] {
        let numbers: HashSet<_> = take(subscription, 100).await?.iter().map(number).collect();
        assert_eq!(numbers.len(), 100);
    }
    Ok(())
}

/// The members of a group share its messages: each message is for one of them, and each of
/// them gets some.
pub async fn competing_members_share(ctx: Context) -> Result {
    let (bus, other) = (ctx.bus().await?, ctx.bus().await?);
    let topic = ctx.topic("shared")?;
    let options = || ctx.group("all").max_in_flight(5);
    let one = Member::start(bus.subscribe(&topic.filter(), options()).await?);
    let two = Member::start(other.subscribe(&topic.filter(), options()).await?);
    let mut rounds = 0;
    while rounds < 4 || one.seen().is_empty() || two.seen().is_empty() {
        assert!(rounds < 500, "one of the two members gets nothing");
        fifty(&bus, &topic, rounds).await?;
        rounds += 1;
        let all = usize::try_from(rounds * 50)?;
        eventually("all to be handled", || one.seen().union(&two.seen()).count() == all).await?;
    }
    // What changes hands may come twice, and that is little.
    let twice = one.seen().intersection(&two.seen()).count();
    assert!(twice <= 50, "{twice} of {} went to both", rounds * 50);
    one.leave().await?;
    two.leave().await
}

/// A member that joins later gets its share.
pub async fn late_joiner_takes_part(ctx: Context) -> Result {
    let (bus, other) = (ctx.bus().await?, ctx.bus().await?);
    let topic = ctx.topic("shared")?;
    let options = || ctx.group("all").max_in_flight(5);
    let first = Member::start(bus.subscribe(&topic.filter(), options()).await?);
    fifty(&bus, &topic, 0).await?;
    eventually("the first to work", || first.seen().len() > 10).await?;
    let joiner = Member::start(other.subscribe(&topic.filter(), options()).await?);
    let mut rounds = 1;
    while joiner.seen().is_empty() {
        assert!(rounds < 500, "the joiner gets nothing");
        fifty(&bus, &topic, rounds).await?;
        rounds += 1;
        let all = usize::try_from(rounds * 50)?;
        eventually("all to be handled", || first.seen().union(&joiner.seen()).count() == all)
            .await?;
    }
    first.leave().await?;
    joiner.leave().await
}

/// When a member leaves, the others get everything from then on.
pub async fn leaving_member_gives_its_share_back(ctx: Context) -> Result {
    let (bus, other) = (ctx.bus().await?, ctx.bus().await?);
    let topic = ctx.topic("shared")?;
    let leaving = Member::start(bus.subscribe(&topic.filter(), ctx.group("all")).await?);
    let staying = Member::start(other.subscribe(&topic.filter(), ctx.group("all")).await?);
    fifty(&bus, &topic, 0).await?;
    eventually("all to be handled", || leaving.seen().union(&staying.seen()).count() == 50).await?;
    leaving.leave().await?;
    fifty(&bus, &topic, 1).await?;
    eventually("the rest to reach the one who stays", || {
        (50..100).all(|n| staying.seen().contains(&n))
    })
    .await?;
    staying.leave().await
}

/// One group name with two filters makes two groups, each with its own position.
pub async fn same_group_with_two_filters_is_two(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("a")?;
    publish_all(&bus, &topic, (0..10).map(event)).await?;
    let mut exact = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let mut wide = bus.subscribe(&ctx.filter("*")?, ctx.group("all")).await?;
    assert_eq!(take(&mut exact, 10).await?.len(), 10);
    assert_eq!(take(&mut wide, 10).await?.len(), 10);
    Ok(())
}
