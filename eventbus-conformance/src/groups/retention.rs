//! Retention drops the oldest, whoever still wants them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventbus_core::{Envelope, EventBus, ReceiveError, Subscription, Topic};

use crate::{
    Context, Result, let_pass,
    steps::{assert_ascending, key_of, keyed, next, next_item, publish_all, take},
    within,
};

const KEPT: usize = 64 << 10;
const LAST: u64 = 200;

/// Large events, several times as much as is kept, with their number as header.
async fn flood(bus: &Arc<dyn EventBus>, topic: &Topic) -> Result {
    let events = (1..=LAST).map(|n| {
        let large = Envelope::new("large", vec![b' '; 2_000]);
        large.key("one").with_header("number", n.to_string())
    });
    publish_all(bus, topic, events).await
}

fn number_of(envelope: &Envelope) -> u64 {
    let number = envelope.header("number").and_then(|n| n.parse().ok());
    number.unwrap_or_default()
}

/// Reads up to the last of the flood; gives the numbers and how often it was told of a gap.
async fn read_on(subscription: &mut Subscription) -> Result<(Vec<u64>, usize)> {
    let (mut numbers, mut gaps) = (Vec::new(), 0);
    loop {
        match next_item(subscription).await? {
            Ok(delivery) => {
                let n = number_of(delivery.envelope());
                assert!(n == 0 || key_of(delivery.envelope()) == "one");
                delivery.ack().await?;
                numbers.push(n);
                if n == LAST {
                    return Ok((numbers, gaps));
                }
            }
            Err(ReceiveError::Truncated(_)) => gaps += 1,
            Err(other) => return Err(other.into()),
        }
    }
}

/// A group that is away while retention drops what it has not read is told of the gap, and
/// goes on behind it.
pub async fn retention_overtakes_a_reader(ctx: Context) -> Result {
    let topic = ctx.topic("kept")?;
    ctx.harness().limit_retention(&topic, KEPT).await?;
    let bus = ctx.bus().await?;
    let away = ctx.bus().await?;
    let mut subscription = away.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, [keyed("one", 0)]).await?;
    take(&mut subscription, 1).await?;
    within("the close", away.close()).await??;
    flood(&bus, &topic).await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    let (numbers, gaps) = read_on(&mut subscription).await?;
    assert_ascending(&numbers);
    assert!(numbers[0] > 1, "nothing was dropped, so nothing was tried");
    assert_eq!(gaps, 1, "the application was not told once that something is missing");
    Ok(())
}

/// What retention drops while it waits for its redelivery does not stop the subscription,
/// neither before it is due nor afterwards.
pub async fn retention_overtakes_a_redelivery(ctx: Context) -> Result {
    const DELAY: Duration = Duration::from_secs(2);
    let topic = ctx.topic("kept")?;
    ctx.harness().limit_retention(&topic, KEPT).await?;
    let bus = ctx.bus().await?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, [keyed("one", 0)]).await?;
    next(&mut subscription).await?.nack(DELAY).await?;
    let due = Instant::now() + DELAY;
    for _ in 0..2 {
        flood(&bus, &topic).await?;
        let (numbers, _) = read_on(&mut subscription).await?;
        assert_eq!(numbers.last(), Some(&LAST));
        let_pass(due.saturating_duration_since(Instant::now())).await;
    }
    Ok(())
}
