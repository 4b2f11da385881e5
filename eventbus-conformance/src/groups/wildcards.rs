//! Filters over several topics.

use std::{collections::BTreeSet, time::Duration};

use eventbus_core::{EventBusExt, SubscribeOptions};

use crate::{
    Context, Result,
    steps::{event, nothing_for, number, publish_numbers, take},
    within,
};

/// `*` is one whole segment, `>` is one or more, and nothing else is matched.
pub async fn wildcards_match_whole_segments(ctx: Context) -> Result {
    const TOPICS: [&str; 6] = ["a", "ab", "a.b", "a-b", "a.b.c", "b.b"];
    const FILTERS: [(&str, &[usize]); 7] = [
        ("a", &[0]),
        ("*", &[0, 1, 3]),
        ("a.*", &[2]),
        ("*.b", &[2, 5]),
        ("a.>", &[2, 4]),
        (">", &[0, 1, 2, 3, 4, 5]),
        ("*.b.*", &[4]),
    ];
    let bus = ctx.bus().await?;
    let mut subscriptions = Vec::new();
    for (filter, expected) in FILTERS {
        let options = SubscribeOptions::new();
        let subscription = bus.subscribe(&ctx.filter(filter)?, options).await?;
        subscriptions.push((filter, expected, subscription));
    }
    for (n, topic) in (0..).zip(TOPICS) {
        let topic = ctx.topic(topic)?;
        within("the receipt", bus.publish_sync(&topic, event(n))).await??;
    }
    for (filter, expected, subscription) in &mut subscriptions {
        let taken = take(subscription, expected.len()).await?;
        let taken: BTreeSet<_> = taken.iter().map(number).collect();
        let expected: BTreeSet<_> = expected.iter().map(|n| *n as u64).collect();
        assert_eq!(taken, expected, "{filter}");
    }
    for (_, _, subscription) in &mut subscriptions {
        nothing_for(subscription, Duration::from_millis(100)).await?;
    }
    Ok(())
}

/// A topic that comes into being under a subscription's wildcard is read from its first
/// message on, also by a reader that started at the latest.
pub async fn topic_created_after_the_subscription_is_read_from_its_start(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let filter = ctx.filter("new.>")?;
    let mut group = bus.subscribe(&filter, ctx.group("all")).await?;
    let mut reader = bus.subscribe(&filter, SubscribeOptions::new()).await?;
    let other = ctx.bus().await?;
    for (from, topic) in [(0, "new.one"), (10, "new.two.deep")] {
        publish_numbers(&other, &ctx.topic(topic)?, from..from + 10).await?;
    }
    for subscription in [&mut group, &mut reader] {
        let taken: BTreeSet<_> = take(subscription, 20).await?.iter().map(number).collect();
        assert_eq!(taken, (0..20).collect::<BTreeSet<_>>());
    }
    Ok(())
}
