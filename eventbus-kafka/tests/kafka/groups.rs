//! Groups: commits, rebalances, partitions that are added.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use eventbus_core::{EventBus, EventBusExt, Ordering, SubscribeOptions, Subscription, Topic};
use tokio::task::JoinHandle;

use crate::cluster::{
    PATIENCE, add_partitions, bus, committed, event, eventually, members, next, number, publish,
    topic,
};

/// The `group.id` of a group.
fn group_id(group: &str, topic: &Topic) -> String {
    format!("{group}.{topic}")
}

#[tokio::test]
async fn settled_above_the_commit_and_attempts_survive_a_restart() {
    let bus = bus("partitions=1").await;
    let topic = topic("progress");
    publish(&bus, &topic, "k", 0..20).await;
    let options = SubscribeOptions::group("progress");
    let mut subscription = bus.subscribe(&topic.filter(), options.clone()).await.unwrap();
    let mut held = Vec::new();
    for n in 0..20 {
        let delivery = next(&mut subscription).await;
        assert_eq!((number(&delivery), delivery.attempt()), (n, 1));
        match n {
            0 => delivery.ack().await.unwrap(),
            3 => delivery.nack(Duration::from_secs(600)).await.unwrap(),
            7 => held.push(delivery),
            19 => delivery.ack_confirmed().await.unwrap(),
            _ if n % 2 == 0 => delivery.ack().await.unwrap(),
            _ => delivery.nack(Duration::from_secs(600)).await.unwrap(),
        }
    }
    let (offset, text) = committed(&group_id("progress", &topic), &topic, 0).unwrap();
    assert_eq!(offset, 1, "the lowest that is not settled");
    assert!(text.starts_with("eb1."), "{text}");
    drop((held, subscription));
    bus.close().await.unwrap();

    let bus = crate::cluster::bus("").await;
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    publish(&bus, &topic, "k", 20..21).await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(n, _)| *n != 20) {
        let delivery = next(&mut subscription).await;
        seen.push((number(&delivery), delivery.attempt()));
        delivery.ack().await.unwrap();
    }
    let mut expected: Vec<_> = (1..19).step_by(2).map(|n| (n, 2)).collect();
    expected.push((20, 1));
    assert_eq!(seen, expected);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn commit_on_revoke() {
    // So that only a revocation commits.
    let rare = "partitions=4&commit_interval=1h";
    let (first, second) = (bus(rare).await, bus(rare).await);
    let topic = topic("revoked");
    let options = || SubscribeOptions::group("revoked");
    let mut one = first.subscribe(&topic.filter(), options()).await.unwrap();
    for n in 0..40 {
        publish(&first, &topic, &format!("k{n}"), n..n + 1).await;
    }
    for _ in 0..40 {
        next(&mut one).await.ack().await.unwrap();
    }
    let mut two = second.subscribe(&topic.filter(), options()).await.unwrap();
    // Each of them gets some of these, and the second one none of those before.
    let mut seen = [0, 0];
    for round in 0.. {
        let n = 1000 + round;
        publish(&first, &topic, &format!("k{n}"), n..n + 1).await;
        tokio::select! {
            delivery = next(&mut one) => { delivery.ack().await.unwrap(); seen[0] += 1; }
            delivery = next(&mut two) => {
                assert!(number(&delivery) >= 1000, "{} came again", number(&delivery));
                delivery.ack().await.unwrap();
                seen[1] += 1;
            }
        }
        if seen[1] > 5 {
            break;
        }
        assert!(round < 10_000, "{seen:?}");
    }
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test]
async fn member_without_partitions_leaves_its_group_when_it_closes() {
    let bus = bus("partitions=1").await;
    let topic = topic("idle-member");
    bus.ensure_topic(&topic).await.unwrap();
    let group = group_id("idle", &topic);
    let filter = topic.filter();
    let join = || bus.subscribe(&filter, SubscribeOptions::group("idle"));
    let (first, second) = (join().await.unwrap(), join().await.unwrap());
    let shared_out = ("Stable".to_owned(), 2);
    eventually("both are members", || members(&group) == shared_out).await;
    // What the first has, it keeps.
    for mut member in [second, first] {
        member.stopper().stop();
        assert!(member.try_next().await.unwrap().is_none());
    }
    assert_eq!(members(&group).1, 0);
    bus.close().await.unwrap();
}

/// A member that handles what it gets for a while: what it saw, and its task.
struct Member {
    task: JoinHandle<()>,
    stopper: eventbus_core::Stopper,
    bus: Arc<dyn EventBus>,
}

type Seen = Arc<Mutex<Vec<(String, u64)>>>;

impl Member {
    async fn join(topic: &Topic, options: SubscribeOptions, seen: Seen) -> Self {
        let bus = bus("").await;
        let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
        let stopper = subscription.stopper();
        let task = tokio::spawn(async move { handle(&mut subscription, &seen).await });
        Self { task, stopper, bus }
    }

    async fn leave(self) {
        self.stopper.stop();
        self.task.await.unwrap();
        self.bus.close().await.unwrap();
    }
}

async fn handle(subscription: &mut Subscription, seen: &Seen) {
    while let Some(delivery) = subscription.try_next().await.unwrap() {
        let (key, n) = (delivery.envelope().aggregate_id().unwrap().to_owned(), number(&delivery));
        // Settled late, it belongs to another member, which then handles it.
        if delivery.ack().await.is_ok() {
            seen.lock().unwrap().push((key, n));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_rebalances_under_load_lose_nothing_and_keep_the_order_of_keys() {
    const WINDOW: usize = 64;
    const KEYS: u64 = 40;
    let publisher = bus("partitions=6").await;
    let topic = topic("rebalanced");
    publisher.ensure_topic(&topic).await.unwrap();
    let options =
        || SubscribeOptions::group("rebalanced").max_in_flight(WINDOW).ordering(Ordering::PerKey);
    let seen = Seen::default();
    let staying = Member::join(&topic, options(), seen.clone()).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = {
        let (bus, topic, stop) = (publisher.clone(), topic.clone(), stop.clone());
        tokio::spawn(async move {
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let events = (0..KEYS).map(|key| event(&format!("k{key}"), round));
                bus.publish_batch(&topic, events.collect()).await.unwrap();
                round += 1;
            }
            round
        })
    };
    // Joining and leaving are a rebalance each.
    for _ in 0..10 {
        let before = seen.lock().unwrap().len();
        let passing = Member::join(&topic, options(), seen.clone()).await;
        eventually("work goes on", || seen.lock().unwrap().len() > before + 500).await;
        passing.leave().await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let rounds = load.await.unwrap();
    let all = (rounds * KEYS) as usize;
    let distinct = || seen.lock().unwrap().iter().collect::<HashSet<_>>().len();
    eventually("everything is handled", || distinct() == all).await;
    staying.leave().await;
    publisher.close().await.unwrap();

    let seen = seen.lock().unwrap();
    // First sightings of a key are in order.
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut known = HashSet::new();
    let mut twice: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry @ (key, n) in seen.iter() {
        if known.insert(entry) {
            let before = newest.insert(key, *n);
            assert!(before.is_none_or(|before| before < *n), "{key}: {before:?} then {n}");
        } else {
            twice.entry(key).or_default().push(*n);
        }
    }
    let count = seen.len() - all;
    let shown: Vec<_> =
        twice.iter().map(|(key, n)| (key, n.len(), n.iter().min(), n.iter().max())).collect();
    assert!(count <= 20 * WINDOW, "of {all}, {count} came twice: {shown:?}");
}

#[tokio::test]
async fn added_partitions_are_read_from_their_start() {
    let publisher = bus("partitions=1").await;
    let topic = topic("growing");
    publisher.ensure_topic(&topic).await.unwrap();
    let reading = bus("").await;
    let group = SubscribeOptions::group("growing").start(eventbus_core::Start::Latest);
    let mut member = reading.subscribe(&topic.filter(), group).await.unwrap();
    let mut reader = reading.subscribe(&topic.filter(), SubscribeOptions::new()).await.unwrap();
    add_partitions(&topic, 4).await;
    // A new publisher knows them at once; the subscriptions learn of them later.
    let publisher = bus("").await;
    for n in 0..40 {
        publish(&publisher, &topic, &format!("k{n}"), n..n + 1).await;
    }
    for subscription in [&mut member, &mut reader] {
        let (mut numbers, mut partitions) = (HashSet::new(), HashSet::new());
        while numbers.len() < 40 {
            let delivery = next(subscription).await;
            numbers.insert(number(&delivery));
            partitions.insert(delivery.position().partition());
            delivery.ack().await.unwrap();
        }
        assert_eq!(partitions.len(), 4);
    }
    reading.close().await.unwrap();
}

#[tokio::test]
async fn confirmed_is_confirmed_behind_a_held_one() {
    let bus = bus("partitions=1&commit_interval=1h").await;
    let topic = topic("confirmed");
    publish(&bus, &topic, "k", 0..3).await;
    let options = SubscribeOptions::native_group(format!("exactly {topic}"));
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    let held = next(&mut subscription).await;
    next(&mut subscription).await.ack_confirmed().await.unwrap();
    let (offset, text) = committed(&format!("exactly {topic}"), &topic, 0).unwrap();
    assert_eq!(offset, 0);
    assert!(!text.is_empty());
    tokio::time::timeout(PATIENCE, held.ack_confirmed()).await.unwrap().unwrap();
    let (offset, _) = committed(&format!("exactly {topic}"), &topic, 0).unwrap();
    assert_eq!(offset, 2);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn member_that_drops_all_leaves_before_its_time_is_over() {
    let topic = topic("dropped");
    let bus = bus("partitions=1").await;
    let subscribe = async || {
        let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(3600));
        bus.subscribe(&topic.filter(), options).await.unwrap()
    };
    let mut first = subscribe().await;
    publish(&bus, &topic, "k", 0..2).await;
    next(&mut first).await.ack().await.unwrap();
    let dropped = next(&mut first).await;
    assert_eq!((number(&dropped), dropped.attempt()), (1, 1));
    drop((dropped, first));
    let again = next(&mut subscribe().await).await;
    assert_eq!((number(&again), again.attempt()), (1, 2));
}
