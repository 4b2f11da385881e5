//! Starting at positions and times.

use std::time::Duration;

use eventbus_core::{ErrorKind, EventBusExt, Position, Start, SubscribeOptions, Topic};

use crate::{
    Context, Failure, PATIENCE, Result,
    steps::{keyed, next, number, publish_numbers, take, take_until},
    within,
};

/// A position that a delivery gave is where another subscription starts, it included, also
/// after it was kept as text.
pub async fn start_at_a_position(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("positions")?;
    publish_numbers(&bus, &topic, 0..10).await?;
    let position = position_of(&ctx, 6).await?;
    let kept: Position = position.to_string().parse()?;
    for options in [SubscribeOptions::new(), ctx.group("all")] {
        let options = options.start(Start::Positions(vec![kept.clone()]));
        let mut subscription = bus.subscribe(&topic.filter(), options).await?;
        assert_eq!(take_until(&mut subscription, 9).await?, [6, 7, 8, 9]);
    }
    Ok(())
}

async fn position_of(ctx: &Context, wanted: u64) -> Result<Position> {
    let bus = ctx.bus().await?;
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut reader = bus.subscribe(&ctx.filter("positions")?, options).await?;
    loop {
        let delivery = next(&mut reader).await?;
        let position = delivery.position().clone();
        let found = number(delivery.envelope()) == wanted;
        delivery.ack().await?;
        if found {
            return Ok(position);
        }
    }
}

/// The position behind the last one is where the next one comes in.
pub async fn start_at_a_position_not_reached_yet(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("positions")?;
    publish_numbers(&bus, &topic, 0..10).await?;
    let last = position_of(&ctx, 9).await?;
    let next_one = elsewhere(&last, last.backend(), &topic, last.offset() + 1)?;
    let options = ctx.group("all").start(Start::Positions(vec![next_one]));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_numbers(&bus, &topic, 10..13).await?;
    assert_eq!(take_until(&mut subscription, 12).await?, [10, 11, 12]);
    Ok(())
}

/// Like `position`, of another backend, topic or offset.
fn elsewhere(position: &Position, backend: &str, topic: &Topic, offset: u64) -> Result<Position> {
    Ok(format!("{backend}:{topic}:{}:{offset}", position.partition()).parse()?)
}

/// A position of another backend or of a topic outside the filter is refused, and so is no
/// position at all.
pub async fn start_at_a_foreign_position_is_refused(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("positions")?;
    publish_numbers(&bus, &topic, [1]).await?;
    let own = position_of(&ctx, 1).await?;
    let foreign = elsewhere(&own, "another", &topic, own.offset())?;
    let outside = elsewhere(&own, own.backend(), &ctx.topic("outside")?, own.offset())?;
    for positions in [vec![foreign], vec![own, outside], Vec::new()] {
        let options = SubscribeOptions::new().start(Start::Positions(positions));
        let refused = bus.subscribe(&topic.filter(), options).await;
        let error = refused.expect_err("not a position to start at");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
    Ok(())
}

/// A time is a start: everything that the broker stored from then on, and nothing before.
pub async fn start_at_a_time(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("times")?;
    publish_numbers(&bus, &topic, 0..5).await?;
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut reader = bus.subscribe(&topic.filter(), options).await?;
    let mut last = std::time::SystemTime::UNIX_EPOCH;
    for _ in 0..5 {
        let delivery = next(&mut reader).await?;
        last = last.max(delivery.published_at());
        delivery.ack().await?;
    }
    // Published until the broker's clock has visibly moved on.
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut n = 5;
    let start = loop {
        within("the receipt", bus.publish_sync(&topic, keyed("one", n))).await??;
        let delivery = next(&mut reader).await?;
        let at = delivery.published_at();
        delivery.ack().await?;
        if at > last + Duration::from_millis(20) {
            break at;
        }
        if std::time::Instant::now() > deadline {
            return Err(Failure::new("the clock of the broker stands still"));
        }
        n += 1;
    };
    publish_numbers(&bus, &topic, n + 1..n + 4).await?;
    let options = ctx.group("all").start(Start::Time(start));
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let first = next(&mut subscription).await?;
    let from = number(first.envelope());
    assert!(first.published_at() >= start - Duration::from_millis(1), "before the time");
    assert!(from > 4 && from <= n, "it starts at {from}, not {n}");
    first.ack().await?;
    let rest = take(&mut subscription, usize::try_from(n + 3 - from)?).await?;
    let rest: Vec<_> = rest.iter().map(number).collect();
    assert_eq!(rest, (from + 1..n + 4).collect::<Vec<_>>());
    Ok(())
}
