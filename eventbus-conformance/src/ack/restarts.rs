//! Consumers that restart and crash.

use std::{collections::HashSet, time::Duration};

use eventbus_core::ErrorKind;

use crate::{
    Context, Result,
    steps::{keyed, next, no_dead_letters, number, publish_all, settle},
    within,
};

/// Twenty restarts in a row, orderly ones and crashes, with work in hand: everything is
/// handled in the end, and nothing becomes a dead letter.
pub async fn rolling_restarts_make_no_dead_letters(ctx: Context) -> Result {
    const COUNT: u64 = 100;
    let bus = ctx.bus().await?;
    let (topic, dead) = (ctx.topic("restarted")?, ctx.topic("dead")?);
    let options = ctx
        .group("all")
        .dead_letter(dead.clone())
        .max_attempts(3)
        .max_in_flight(20)
        .ack_wait(Duration::from_secs(2));
    publish_all(&bus, &topic, (0..COUNT).map(|n| keyed("k", n))).await?;
    let mut handled = HashSet::new();
    for round in 0..20 {
        let consumer = ctx.bus_with(|r| r.config.close_timeout = Duration::from_millis(50)).await?;
        let mut subscription = consumer.subscribe(&topic.filter(), options.clone()).await?;
        let mut held = Vec::new();
        for at in 0..4 {
            let delivery = next(&mut subscription).await?;
            let n = number(delivery.envelope());
            if at % 2 == 0 {
                held.push(delivery);
            } else if settle(delivery.ack().await)? {
                handled.insert(n);
            }
        }
        if round % 2 == 0 {
            within("the close", consumer.close()).await??;
        }
        // Otherwise all of it is just gone.
        drop((subscription, consumer, held));
    }
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    while (handled.len() as u64) < COUNT {
        let delivery = next(&mut subscription).await?;
        let n = number(delivery.envelope());
        if settle(delivery.ack().await)? {
            handled.insert(n);
        }
    }
    no_dead_letters(&bus, &dead, "k").await
}

/// Behind one message that is nacked for ever, ten windows of others are done. After a
/// crash at most one window of them comes again.
pub async fn crash_behind_a_stuck_key_duplicates_little(ctx: Context) -> Result {
    const WINDOW: u64 = 20;
    const MARKER: u64 = 10 * WINDOW + 1;
    let bus = ctx.bus().await?;
    let topic = ctx.topic("stuck")?;
    let options = ctx.group("all").max_in_flight(WINDOW as usize).ack_wait(Duration::from_secs(3));
    // One key, so that where there are partitions all is in one, behind the stuck one.
    publish_all(&bus, &topic, (0..=10 * WINDOW).map(|n| keyed("k", n))).await?;
    let consumer = ctx.bus().await?;
    let mut subscription = consumer.subscribe(&topic.filter(), options.clone()).await?;
    let mut done = HashSet::new();
    while done.len() < 10 * WINDOW as usize {
        let delivery = next(&mut subscription).await?;
        match number(delivery.envelope()) {
            0 => {
                settle(delivery.nack(Duration::from_millis(20)).await)?;
            }
            n => match within("the confirmation", delivery.ack_confirmed()).await? {
                Err(error) if error.kind() == ErrorKind::Expired => {}
                outcome => {
                    outcome?;
                    done.insert(n);
                }
            },
        }
    }
    drop((subscription, consumer));

    publish_all(&bus, &topic, [keyed("k", MARKER)]).await?;
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let mut seen = HashSet::new();
    while !(seen.contains(&0) && seen.contains(&MARKER)) {
        let delivery = next(&mut subscription).await?;
        let n = number(delivery.envelope());
        if settle(delivery.ack().await)? {
            seen.insert(n);
        }
    }
    let again = seen.intersection(&done).count() as u64;
    assert!(again <= WINDOW, "{again} came again that had been acknowledged");
    Ok(())
}
