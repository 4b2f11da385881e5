//! What is not settled comes again, and when.

use std::time::{Duration, Instant};

use eventbus_core::{ErrorKind, EventBusExt};

use crate::{
    Context, Failure, PATIENCE, Result, let_pass,
    steps::{event, keyed, next, number, publish_all, settle, take_until},
    within,
};

const SHORT: Duration = Duration::from_millis(500);

/// A nacked delivery comes again, as the next attempt.
pub async fn nack_comes_again(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("nacked")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    within("the receipt", bus.publish_sync(&topic, event(1).key("k"))).await??;
    let first = next(&mut subscription).await?;
    assert_eq!(first.attempt(), 1);
    let (envelope, position) = (first.envelope().clone(), first.position().clone());
    first.nack(Duration::ZERO).await?;
    let again = next(&mut subscription).await?;
    assert_eq!(again.attempt(), 2);
    assert_eq!((again.envelope(), again.position()), (&envelope, &position));
    again.ack().await?;
    Ok(())
}

/// It does not come before its delay, however long, and others do.
pub async fn nack_not_before_its_delay(ctx: Context) -> Result {
    const DELAY: Duration = Duration::from_millis(1_500);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("nacked")?;
    let mut subscription = bus.subscribe(&topic.filter(), ctx.group("all")).await?;
    publish_all(&bus, &topic, (1..=3).map(event)).await?;
    let first = next(&mut subscription).await?;
    let nacked = number(first.envelope());
    let at = Instant::now();
    first.nack(DELAY).await?;
    for _ in 0..2 {
        let other = next(&mut subscription).await?;
        assert_ne!(number(other.envelope()), nacked, "it came first");
        other.ack().await?;
    }
    let again = next(&mut subscription).await?;
    assert!(at.elapsed() >= DELAY, "it came after {:?}", at.elapsed());
    assert_eq!((number(again.envelope()), again.attempt()), (nacked, 2));
    again.nack(Duration::MAX).await?;
    publish_all(&bus, &topic, [event(4)]).await?;
    let other = next(&mut subscription).await?;
    assert_eq!((number(other.envelope()), other.attempt()), (4, 1));
    other.ack().await?;
    Ok(())
}

/// Some that are nacked for ever, without any delay, do not keep others from being delivered.
pub async fn nack_for_ever_disturbs_nobody(ctx: Context) -> Result {
    const STUCK: u64 = 5;
    let bus = ctx.bus().await?;
    let topic = ctx.topic("nacked")?;
    let options = ctx.group("all").max_in_flight(2 * STUCK as usize);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (0..STUCK + 200).map(event)).await?;
    let (mut done, mut nacks) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while done < 200 || nacks < 10 {
        let delivery = next(&mut subscription).await?;
        if number(delivery.envelope()) < STUCK {
            nacks += 1;
            delivery.nack(Duration::ZERO).await?;
        } else {
            done += 1;
            delivery.ack().await?;
        }
        assert!(Instant::now() < deadline, "{done} done after {nacks} nacks");
    }
    Ok(())
}

/// A delivery that is held beyond its `ack_wait` comes again, as a later attempt.
pub async fn unsettled_comes_again_after_ack_wait(ctx: Context) -> Result {
    comes_again(ctx, true).await
}

/// So does one that is dropped.
pub async fn dropped_comes_again_after_ack_wait(ctx: Context) -> Result {
    comes_again(ctx, false).await
}

async fn comes_again(ctx: Context, hold: bool) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("unsettled")?;
    let options = ctx.group("all").ack_wait(SHORT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    within("the receipt", bus.publish_sync(&topic, event(1))).await??;
    let first = next(&mut subscription).await?;
    let at = Instant::now();
    let id = first.envelope().id();
    let held = hold.then_some(first);
    let mut again = next(&mut subscription).await?;
    // Its wait may have started a little before it reached us.
    assert!(at.elapsed() >= SHORT / 2, "it came after {:?}", at.elapsed());
    assert_eq!(again.envelope().id(), id);
    assert!(again.attempt() > 1);
    while !settle(again.ack().await)? {
        again = next(&mut subscription).await?;
    }
    drop(held);
    Ok(())
}

/// The wait of a delivery starts when the application gets it, not while it lies in a buffer.
pub async fn ack_wait_starts_when_handed_out(ctx: Context) -> Result {
    const WAIT: Duration = Duration::from_secs(3);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("buffered")?;
    let options = ctx.group("all").ack_wait(WAIT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (1..=3).map(|n| keyed("k", n))).await?;
    // Something to fill the buffer with, and then nothing is asked for.
    next(&mut subscription).await?.ack().await?;
    let_pass(WAIT * 3 / 2).await;
    for n in 2..=3 {
        let delivery = next(&mut subscription).await?;
        assert_eq!((number(delivery.envelope()), delivery.attempt()), (n, 1));
        delivery.ack().await?;
    }
    Ok(())
}

/// A delivery whose wait is extended again and again is not delivered a second time, and can
/// be acknowledged in the end.
pub async fn extend_keeps_a_delivery(ctx: Context) -> Result {
    const WAIT: Duration = Duration::from_secs(2);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("extended")?;
    let options = ctx.group("all").ack_wait(WAIT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    within("the receipt", bus.publish_sync(&topic, event(1).key("k"))).await??;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let delivery = next(&mut subscription).await?;
        let start = Instant::now();
        let mut longest_pause = Duration::ZERO;
        let mut extended = Ok(());
        while start.elapsed() < WAIT * 2 && extended.is_ok() {
            let before = Instant::now();
            let_pass(WAIT / 8).await;
            extended = delivery.extend().await;
            longest_pause = longest_pause.max(before.elapsed());
        }
        let outcome = match extended {
            Ok(()) => settle(delivery.ack().await)?,
            Err(error) if error.kind() == ErrorKind::Expired => false,
            Err(error) => return Err(error.into()),
        };
        if outcome {
            break;
        }
        // Only a machine that stalled for most of the wait excuses that.
        assert!(longest_pause > WAIT / 2, "it expired though it was extended");
        if Instant::now() > deadline {
            return Err(Failure::new("the machine stalls too much to tell"));
        }
    }
    within("the marker", bus.publish_sync(&topic, event(2).key("k"))).await??;
    assert_eq!(take_until(&mut subscription, 2).await?, [2]);
    Ok(())
}

/// Settling a delivery that belongs to another attempt by now fails with `Expired` and
/// changes nothing for that attempt.
pub async fn settling_after_ack_wait_says_expired(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("expired")?;
    let options = ctx.group("all").ack_wait(SHORT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    within("the receipt", bus.publish_sync(&topic, event(1))).await??;
    let first = next(&mut subscription).await?;
    let second = next(&mut subscription).await?;
    let extended = first.extend().await;
    assert_eq!(extended.expect_err("too late").kind(), ErrorKind::Expired);
    let refused = first.ack().await.expect_err("too late");
    assert_eq!(refused.kind(), ErrorKind::Expired);
    assert_eq!(number(refused.delivery().envelope()), 1);
    drop((refused, second));
    let mut third = next(&mut subscription).await?;
    while !settle(third.ack().await)? {
        third = next(&mut subscription).await?;
    }
    Ok(())
}

/// So it does when the delivery has not come again yet, because nobody asks for more.
pub async fn settling_after_ack_wait_says_expired_before_it_comes_again(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("expired")?;
    let options = ctx.group("all").ack_wait(SHORT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    within("the receipt", bus.publish_sync(&topic, event(1))).await??;
    let first = next(&mut subscription).await?;
    let_pass(SHORT * 3).await;
    let refused = first.ack().await.expect_err("too late");
    assert_eq!(refused.kind(), ErrorKind::Expired);
    let mut again = next(&mut subscription).await?;
    assert_eq!(number(again.envelope()), 1);
    while !settle(again.ack().await)? {
        again = next(&mut subscription).await?;
    }
    Ok(())
}
