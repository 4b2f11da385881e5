//! Atomic batches.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use eventbus_core::{
    BatchError, Envelope, ErrorKind, EventBus, EventBusExt, PublishOptions, Receipt, RetryPolicy,
    Start, SubscribeOptions, Topic,
};

use super::failures::broken;
use crate::{
    Context, Result, eventually,
    steps::{
        Failures, assert_ascending, event, key_of, keyed, next, number, numbers, read_all,
        ready_topic, take_until,
    },
    wait::{LONG, is_pending},
    within,
};

const MARKER: u64 = 1_000_000;

async fn publish_atomic(
    bus: &Arc<dyn EventBus>,
    topic: &Topic,
    batch: Vec<Envelope>,
) -> Result<Result<Vec<Receipt>, BatchError>> {
    let options = PublishOptions::new().atomic();
    within("the atomic batch", bus.publish_batch_opts(topic, batch, options)).await
}

fn batch_of(key: &str, numbers: std::ops::Range<u64>) -> Vec<Envelope> {
    numbers.map(|n| keyed(key, n)).collect()
}

/// All failed alike, each with its envelope.
#[track_caller]
fn assert_all_failed(error: &BatchError, batch: &[Envelope], kind: ErrorKind) {
    assert!(error.receipts().is_empty(), "a part was stored");
    assert_eq!(error.failures().len(), batch.len());
    for (failure, envelope) in error.failures().iter().zip(batch) {
        assert_eq!(failure.error.kind(), kind, "{failure:?}");
        assert!(failure.error.envelope() == envelope, "another envelope");
    }
}

/// It is stored whole, behind what was published before and before what comes after, and
/// nothing of others comes in between.
pub async fn atomic_batch_is_stored_in_one_piece(ctx: Context) -> Result {
    const ROUNDS: u64 = 10;
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let noise = {
        // Over a connection of its own, so that it is the broker that keeps it out.
        let (bus, topic, stop) = (ctx.bus().await?, topic.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                bus.publish(&topic, event(0)).await?;
            }
            Result::<_>::Ok(())
        })
    };
    for round in 0..ROUNDS {
        let from = round * 1000;
        for n in from + 1..from + 300 {
            bus.publish(&topic, keyed("k", n)).await?;
        }
        let receipts =
            publish_atomic(&bus, &topic, batch_of("k", from + 300..from + 350)).await??;
        assert_eq!(receipts.len(), 50);
        let offsets = receipts.iter().filter_map(|r| r.position()).map(|p| p.offset());
        assert!(offsets.collect::<Vec<_>>().is_sorted_by(|a, b| a + 1 == *b), "{receipts:?}");
        if let Some(first) = receipts[0].position() {
            let options = SubscribeOptions::new().start(Start::Positions(vec![first.clone()]));
            let mut there = bus.subscribe(&topic.filter(), options).await?;
            assert_eq!(number(next(&mut there).await?.envelope()), from + 300);
        }
    }
    stop.store(true, Ordering::Relaxed);
    within("the others", noise).await???;
    within("the marker", bus.publish_sync(&topic, keyed("k", MARKER))).await??;
    let all = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), all).await?;
    let stored = take_until(&mut subscription, MARKER).await?;
    for round in 0..ROUNDS {
        let from = round * 1000 + 300;
        let at = stored.iter().position(|n| *n == from).expect("the batch is stored");
        assert_eq!(stored[at..at + 50], (from..from + 50).collect::<Vec<_>>());
    }
    let of_key: Vec<_> = stored.into_iter().filter(|n| *n > 0).collect();
    assert_eq!(of_key.len() as u64, ROUNDS * 349 + 1);
    assert_ascending(&of_key);
    Ok(())
}

/// One envelope that cannot be stored, and nothing is.
pub async fn atomic_batch_with_a_bad_envelope_is_not_stored(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let mut batch = batch_of("k", 1..5);
    batch[2] = ctx.largest_envelope(&bus, "k").with_header("one", "more");
    let error = publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("one is too large");
    assert_all_failed(&error, &batch, ErrorKind::TooLarge);
    within("the marker", bus.publish_sync(&topic, keyed("k", 9))).await??;
    assert_eq!(numbers(&read_all(&bus, &topic, 2).await?), [0, 9]);
    Ok(())
}

/// What cannot be sent at once is refused before anything is sent, and comes back.
pub async fn atomic_batch_beyond_a_limit_is_refused(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 16).await?;
    let topic = ctx.topic("atomic")?;
    let batch = batch_of("k", 0..17);
    let error =
        publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("more than the window");
    assert_all_failed(&error, &batch, ErrorKind::TooLarge);
    let few = || batch[..2].to_vec();
    for options in [
        PublishOptions::new().atomic().idempotent(),
        PublishOptions::new().atomic().retry(RetryPolicy::none()),
    ] {
        let error = bus.publish_batch_opts(&topic, few(), options).await;
        assert_all_failed(&error.expect_err("not both"), &few(), ErrorKind::Unsupported);
    }
    let most = bus.capabilities().max_atomic_batch;
    let bus = ctx.bus_with(|r| r.config.max_in_flight = most + 1).await?;
    let batch = batch_of("k", 0..most as u64 + 1);
    let error = publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("more than it takes");
    assert_all_failed(&error, &batch, ErrorKind::TooLarge);
    assert_eq!((bus.stats().published, bus.stats().refused), (0, most as u64 + 1));
    assert_eq!(publish_atomic(&bus, &topic, batch[1..].to_vec()).await??.len(), most);
    Ok(())
}

/// Several at once, each of most of the window, wait for each other and for nothing else.
pub async fn atomic_batches_share_a_window(ctx: Context) -> Result {
    let bus = ctx.bus_with(|r| r.config.max_in_flight = 16).await?;
    let topic = ctx.topic("atomic")?;
    let publisher = |key: &'static str| {
        let (bus, topic) = (bus.clone(), topic.clone());
        tokio::spawn(async move {
            for from in (0..200).step_by(10) {
                publish_atomic(&bus, &topic, batch_of(key, from..from + 10)).await??;
                bus.publish(&topic, event(0)).await?;
            }
            Result::<_>::Ok(())
        })
    };
    let (one, two, three) = (publisher("one"), publisher("two"), publisher("three"));
    let all = within("all batches", async { (one.await, two.await, three.await) }).await?;
    for publisher in [all.0, all.1, all.2] {
        publisher??;
    }
    within("the flush", bus.flush()).await??;
    let stats = bus.stats();
    assert!(stats.peak_in_flight <= 16 && stats.acknowledged == 660, "{stats:?}");
    let stored = read_all(&bus, &topic, 660).await?;
    for key in ["one", "two", "three"] {
        let of_key: Vec<_> = stored.iter().filter(|e| key_of(e) == key).map(number).collect();
        assert_ascending(&of_key);
        let is_whole = |at: usize| stored[at..at + 10].iter().all(|e| key_of(e) == key);
        let begins = |e: &Envelope| key_of(e) == key && number(e).is_multiple_of(10);
        let starts = stored.iter().enumerate().filter(|(_, e)| begins(e)).map(|(at, _)| at);
        assert_eq!(starts.filter(|at| is_whole(*at)).count(), 20, "a batch is in pieces");
    }
    Ok(())
}

/// One that waits for room and is cancelled was not accepted, not even in part.
pub async fn cancelled_atomic_batch_leaves_no_trace(ctx: Context) -> Result {
    let bus = ctx
        .bus_with(|r| {
            r.config.max_in_flight = 4;
            r.config.ack_timeout = LONG;
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let held = ctx.hold_acks(&bus)?;
    for n in 1..3 {
        bus.publish(&topic, keyed("k", n)).await?;
    }
    let options = PublishOptions::new().atomic();
    let mut batch = bus.publish_batch_opts(&topic, batch_of("k", 10..13), options);
    assert!(is_pending(&mut batch), "there is room for two");
    assert_eq!(bus.stats().in_flight, 2);
    drop(batch);
    for n in 3..5 {
        within("room that nobody waits for", bus.publish(&topic, keyed("k", n))).await??;
    }
    held.release();
    within("the flush", bus.flush()).await??;
    let mut stored = numbers(&read_all(&bus, &topic, 5).await?);
    stored.sort_unstable();
    assert_eq!(stored, [0, 1, 2, 3, 4]);
    assert_eq!(bus.stats().acknowledged, 5);
    Ok(())
}

/// Without an answer all is unknown alike, whether somebody waits or not.
pub async fn atomic_batch_times_out_as_one(ctx: Context) -> Result {
    let failures = Failures::new();
    let bus = ctx
        .bus_with(|r| {
            r.config.ack_timeout = Duration::from_secs(1);
            r.config.ack_batch_size = 3;
            r.on_failure = failures.handler();
        })
        .await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let held = ctx.hold_acks(&bus)?;
    let options = PublishOptions::new().atomic();
    let mut detached = bus.publish_batch_opts(&topic, batch_of("k", 1..9), options);
    assert!(is_pending(&mut detached), "nothing is answered");
    drop(detached);
    let batch = batch_of("k", 11..20);
    let error = publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("no answer");
    assert_all_failed(&error, &batch, ErrorKind::AckTimeout);
    assert!(error.failures().iter().all(|failure| failure.error.error().is_ambiguous()));
    eventually("the handler to get all", || failures.count() == 8).await?;
    assert_eq!(failures.numbers(), (1..9).collect::<Vec<_>>());
    held.release();
    within("the flush", bus.flush()).await??;
    assert_eq!(bus.stats().in_flight, 0);
    Ok(())
}

/// What the broker refuses it refuses whole, and the error is that of all.
pub async fn atomic_batch_fails_as_one(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let batch = batch_of("k", 1..9);
    let faults = ctx.faults(&bus)?;
    faults.fail_next(1, broken());
    let error = publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("it is refused");
    assert_all_failed(&error, &batch, broken().kind());
    faults.hand_back_next(1, broken());
    let error = publish_atomic(&bus, &topic, batch.clone()).await?.expect_err("it is not retried");
    assert_all_failed(&error, &batch, broken().kind());
    assert_eq!(publish_atomic(&bus, &topic, batch).await??.len(), 8);
    assert_eq!(numbers(&read_all(&bus, &topic, 9).await?), (0..9).collect::<Vec<_>>());
    Ok(())
}

/// The broker is killed in the middle of batches and comes back: each is there whole or not at
/// all, what was acknowledged is there, and what certainly failed is not.
pub async fn atomic_batches_are_whole_after_a_broker_restart(ctx: Context) -> Result {
    const LEN: u64 = 200;
    let bus = ctx.bus().await?;
    let topic = ready_topic(&ctx, &bus, "atomic").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = ["one", "two", "three"]
        .into_iter()
        .map(|key| {
            let (bus, topic, stop) = (bus.clone(), topic.clone(), stop.clone());
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let from = outcomes.len() as u64 * LEN;
                    let batch = batch_of(key, from..from + LEN);
                    let batch: Vec<_> =
                        batch.into_iter().map(|e| e.with_header("x", "x".repeat(1000))).collect();
                    let outcome = publish_atomic(&bus, &topic, batch.clone()).await?;
                    if let Err(error) = &outcome {
                        assert_all_failed(error, &batch, error.failures()[0].error.kind());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    outcomes
                        .push(outcome.map_err(|e| e.failures()[0].error.error().is_ambiguous()));
                }
                Result::<_>::Ok((key, outcomes))
            })
        })
        .collect();
    let more = |than| {
        let bus = bus.clone();
        eventually("more to be acknowledged", move || bus.stats().acknowledged > than)
    };
    for _ in 0..3 {
        more(bus.stats().acknowledged + 10 * LEN).await?;
        ctx.harness().restart_broker().await?;
    }
    more(bus.stats().acknowledged + 10 * LEN).await?;
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = HashMap::new();
    for publisher in publishers {
        let (key, of_key) = within("a publisher", publisher).await???;
        outcomes.insert(key.to_owned(), of_key);
    }
    within("the marker", bus.publish_sync(&topic, event(MARKER))).await??;
    let stored = read_until_marker(&bus, &topic).await?;
    let failed = outcomes.values().flatten().filter(|outcome| outcome.is_err()).count();
    assert!(failed > 0, "no batch was hit, so nothing was tried");
    let mut rest = &stored[..];
    while let Some((key, from)) = rest.first() {
        let piece: Vec<_> = (*from..from + LEN).map(|n| (key.clone(), n)).collect();
        assert!(rest.starts_with(&piece), "only a part of the batch {key} {from} is stored");
        let outcome = &outcomes[key][(from / LEN) as usize];
        assert!(!matches!(outcome, Err(false)), "{key} {from} is stored and said not to be");
        rest = &rest[piece.len()..];
    }
    for (key, of_key) in outcomes {
        for (place, outcome) in of_key.iter().enumerate() {
            let first = (key.clone(), place as u64 * LEN);
            let there = stored.iter().filter(|event| **event == first).count();
            assert!(outcome.is_err() || there == 1, "{first:?} was acknowledged: {there} times");
        }
    }
    Ok(())
}

/// Key and number of all that is stored between the first event and the marker.
async fn read_until_marker(bus: &Arc<dyn EventBus>, topic: &Topic) -> Result<Vec<(String, u64)>> {
    let all = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), all).await?;
    next(&mut subscription).await?.ack().await?;
    let mut stored = Vec::new();
    loop {
        let delivery = next(&mut subscription).await?;
        let envelope = delivery.envelope();
        if number(envelope) == MARKER {
            return Ok(stored);
        }
        stored.push((key_of(envelope), number(envelope)));
        delivery.ack().await?;
    }
}
