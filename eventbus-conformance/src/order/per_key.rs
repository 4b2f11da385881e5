//! `Ordering::PerKey`: the deliveries of a key one at a time and in order.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use eventbus_core::Ordering;

use crate::{
    Context, Result,
    steps::{ack_all_of, event, key_of, keyed, next, number, publish_all, settle, take_numbers},
};

const SHORT: Duration = Duration::from_millis(500);

/// While one of a key is held, its successors are not handed out; then they are, in order.
pub async fn per_key_hands_out_one_at_a_time(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let held_back = (1..=3).map(|n| keyed("a", n));
    let others = (10..20).map(|n| keyed(&format!("b{n}"), n));
    publish_all(&bus, &topic, held_back.chain(others)).await?;
    let mut held = None;
    let mut seen = HashSet::new();
    while seen.len() < 11 {
        let delivery = next(&mut subscription).await?;
        seen.insert(number(delivery.envelope()));
        if key_of(delivery.envelope()) == "a" {
            assert!(held.is_none(), "a second one of a key that is held");
            held = Some(delivery);
        } else {
            delivery.ack().await?;
        }
    }
    let held = held.expect("the first of the key is among the eleven");
    assert_eq!(number(held.envelope()), 1);
    held.ack().await?;
    assert_eq!(take_numbers(&mut subscription, 2).await?, [2, 3]);
    Ok(())
}

/// Other keys, and envelopes without a key, do not wait.
pub async fn per_key_lets_other_keys_and_none_pass(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [keyed("a", 1)]).await?;
    let held = next(&mut subscription).await?;
    publish_all(&bus, &topic, [event(2), keyed("b", 3), event(4), keyed("c", 5)]).await?;
    let mut free = Vec::new();
    for _ in 0..4 {
        free.push(next(&mut subscription).await?);
    }
    let mut passed: Vec<_> = free.iter().map(|d| number(d.envelope())).collect();
    passed.sort_unstable();
    assert_eq!(passed, [2, 3, 4, 5]);
    ack_all_of(free).await?;
    held.ack().await?;
    Ok(())
}

/// A nacked one comes again before its successors, however long its delay, and other keys
/// go on meanwhile.
pub async fn per_key_waits_for_a_nacked_one(ctx: Context) -> Result {
    const DELAY: Duration = Duration::from_secs(1);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, [keyed("a", 1)]).await?;
    let first = next(&mut subscription).await?;
    publish_all(&bus, &topic, [keyed("a", 2), keyed("b", 10), keyed("a", 3), keyed("b", 11)])
        .await?;
    let nacked = Instant::now();
    first.nack(DELAY).await?;
    let taken = take_numbers(&mut subscription, 5).await?;
    assert!(nacked.elapsed() >= DELAY, "it came again before its delay");
    let of =
        |key: &[u64]| -> Vec<u64> { taken.iter().copied().filter(|n| key.contains(n)).collect() };
    assert_eq!(of(&[1, 2, 3]), [1, 2, 3]);
    assert_eq!(of(&[10, 11]), [10, 11]);
    Ok(())
}

/// One that is held beyond its `ack_wait` comes again before its successors.
pub async fn per_key_waits_for_an_expired_one(ctx: Context) -> Result {
    waits_for_expiry(ctx, true).await
}

/// One that is dropped unsettled comes again before its successors.
pub async fn per_key_waits_for_a_dropped_one(ctx: Context) -> Result {
    waits_for_expiry(ctx, false).await
}

async fn waits_for_expiry(ctx: Context, hold: bool) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey).ack_wait(SHORT);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (1..=3).map(|n| keyed("a", n))).await?;
    let first = next(&mut subscription).await?;
    let handed_out = Instant::now();
    assert_eq!((number(first.envelope()), first.attempt()), (1, 1));
    let held = hold.then_some(first);
    let again = next(&mut subscription).await?;
    assert_eq!(number(again.envelope()), 1, "a successor overtook it");
    assert!(again.attempt() > 1);
    // The clock of the wait may have started a little before the delivery reached us.
    assert!(handed_out.elapsed() >= SHORT / 2, "it came again at once");
    drop(held);
    let mut done = Vec::new();
    let mut delivery = again;
    loop {
        let got = number(delivery.envelope());
        if settle(delivery.ack().await)? {
            done.push(got);
        }
        if done.len() == 3 {
            break;
        }
        delivery = next(&mut subscription).await?;
    }
    assert_eq!(done, [1, 2, 3]);
    Ok(())
}

/// Fifty keys, and every seventh delivery is nacked once: each key is done in its order.
pub async fn per_key_under_nacks_and_load(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey).max_in_flight(32);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let events = (0..40).flat_map(|n| (0..50).map(move |key| keyed(&format!("k{key}"), n)));
    publish_all(&bus, &topic, events).await?;
    let mut nacked = HashSet::new();
    let mut done: HashMap<String, u64> = HashMap::new();
    let mut count = 0;
    while count < 2_000 {
        let delivery = next(&mut subscription).await?;
        let (key, n) = (key_of(delivery.envelope()), number(delivery.envelope()));
        let expected = done.entry(key.clone()).or_default();
        if n < *expected {
            delivery.ack().await?;
            continue;
        }
        assert_eq!(n, *expected, "key {key} was handed out of order");
        if (count + n) % 7 == 0 && nacked.insert((key, n)) {
            delivery.nack(Duration::from_millis(20)).await?;
            continue;
        }
        delivery.ack().await?;
        *expected += 1;
        count += 1;
    }
    assert!(nacked.len() > 100, "only {} were nacked", nacked.len());
    Ok(())
}

/// A key waits for its nacked head only as long as the nack says, not until somebody looks: the
/// rest of the key is held up with it.
pub async fn per_key_nacked_comes_again_without_delay(ctx: Context) -> Result {
    const NACKS: u32 = 40;
    const LIMIT: Duration = Duration::from_secs(8);
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    publish_all(&bus, &topic, (1..=2).map(|n| keyed("a", n))).await?;
    let mut head = next(&mut subscription).await?;
    let started = Instant::now();
    for _ in 0..NACKS {
        head.nack(Duration::ZERO).await?;
        head = next(&mut subscription).await?;
        assert_eq!(number(head.envelope()), 1);
    }
    assert!(started.elapsed() < LIMIT, "{NACKS} nacks took {:?}", started.elapsed());
    head.ack().await?;
    assert_eq!(take_numbers(&mut subscription, 1).await?, [2]);
    Ok(())
}
