//! Who gets which messages.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Wake},
    time::Duration,
};

use eventbus_core::{ErrorKind, Ordering, SubscribeOptions, Subscription, Topic};

use crate::support::{connect, next, now, number, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("groups.one");

#[tokio::test]
async fn messages_come_in_order_with_their_facts() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
    for number in 0..100 {
        publish(&bus, &TOPIC, number).await;
    }
    let mut before = std::time::SystemTime::UNIX_EPOCH;
    for expected in 0..100 {
        let delivery = next(&mut subscription).await;
        assert_eq!(number(&delivery), expected);
        assert_eq!(delivery.topic(), &TOPIC);
        assert_eq!(delivery.attempt(), 1);
        assert_eq!(delivery.position().to_string(), format!("memory:groups.one:0:{expected}"));
        assert!(delivery.published_at() >= before);
        before = delivery.published_at();
        delivery.ack().await.unwrap();
    }
    assert!(now(&mut subscription).await.is_none());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn each_group_gets_everything() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "groups.one", SubscribeOptions::group("one")).await;
    let mut two = subscribe(&bus, "groups.one", SubscribeOptions::group("two")).await;
    let mut wide = subscribe(&bus, "groups.*", SubscribeOptions::group("one")).await;
    for number in 0..10 {
        publish(&bus, &TOPIC, number).await;
    }
    let all: Vec<_> = (0..10).collect();
    assert_eq!(take(&mut one, 10).await, all);
    assert_eq!(take(&mut two, 10).await, all);
    assert_eq!(take(&mut wide, 10).await, all, "another filter makes another group");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_messages_each_once() {
    const MESSAGES: usize = 2000;
    let bus = connect("memory://").await;
    let (done, mut results) = tokio::sync::mpsc::unbounded_channel();
    for member in 0..4 {
        let mut subscription = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
        let done = done.clone();
        tokio::spawn(async move {
            while let Ok(Some(delivery)) = subscription.try_next().await {
                let number = number(&delivery);
                delivery.ack().await.unwrap();
                done.send((member, number)).unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for number in 0..MESSAGES {
        publish(&bus, &TOPIC, number).await;
    }
    let mut seen = BTreeSet::new();
    let mut members = BTreeSet::new();
    for _ in 0..MESSAGES {
        let received = tokio::time::timeout(crate::support::DEADLINE, results.recv());
        let (member, number) = received.await.unwrap().unwrap();
        assert!(seen.insert(number), "{number} was delivered twice");
        members.insert(member);
    }
    assert_eq!(members.len(), 4, "each member gets something");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_member_that_does_not_read_keeps_nothing_back() {
    let bus = connect("memory://").await;
    let mut idle = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
    let mut busy = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
    // It waits once and then does something else.
    assert!(now(&mut idle).await.is_none());
    let reader = tokio::spawn(async move { take(&mut busy, 20).await });
    tokio::task::yield_now().await;
    for number in 0..20 {
        publish(&bus, &TOPIC, number).await;
    }
    assert_eq!(reader.await.unwrap(), (0..20).collect::<Vec<_>>());
    drop(idle);
}

#[tokio::test]
async fn a_group_goes_on_where_it_was() {
    let bus = connect("memory://").await;
    let mut first = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
    for number in 0..10 {
        publish(&bus, &TOPIC, number).await;
    }
    assert_eq!(take(&mut first, 4).await, [0, 1, 2, 3]);
    drop(first);
    publish(&bus, &TOPIC, 10).await;
    let mut second = subscribe(&bus, "groups.one", SubscribeOptions::group("g")).await;
    assert_eq!(take(&mut second, 7).await, (4..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_late_member_takes_its_part() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g").max_in_flight(2);
    let mut first = subscribe(&bus, "groups.one", options()).await;
    for number in 0..4 {
        publish(&bus, &TOPIC, number).await;
    }
    let held = [next(&mut first).await, next(&mut first).await];
    let mut late = subscribe(&bus, "groups.one", options()).await;
    assert_eq!(take(&mut late, 2).await, [2, 3]);
    drop(held);
}

#[tokio::test]
async fn without_a_group_each_has_its_own_copy() {
    let bus = connect("memory://").await;
    publish(&bus, &TOPIC, 0).await;
    let mut one = subscribe(&bus, "groups.one", SubscribeOptions::new()).await;
    let mut two = subscribe(&bus, "groups.one", SubscribeOptions::new()).await;
    publish(&bus, &TOPIC, 1).await;
    publish(&bus, &TOPIC, 2).await;
    assert_eq!(take(&mut one, 2).await, [1, 2], "it starts with what comes after it");
    assert_eq!(take(&mut two, 2).await, [1, 2]);
    drop(one);
    let mut three = subscribe(&bus, "groups.one", SubscribeOptions::new()).await;
    publish(&bus, &TOPIC, 3).await;
    assert_eq!(take(&mut three, 1).await, [3], "no position is left behind");
}

#[tokio::test]
async fn an_existing_group_with_other_options_is_refused() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g").ack_wait(Duration::from_secs(30));
    let _first = subscribe(&bus, "groups.one", options()).await;
    let filter = TOPIC.filter();
    for (other, names, values) in [
        (options().ack_wait(Duration::from_secs(10)), "ack_wait", ["30s", "10s"]),
        (options().ordering(Ordering::PerKey), "ordering", ["Unordered", "PerKey"]),
        (options().cumulative(), "cumulative", ["false", "true"]),
    ] {
        let error = bus.subscribe(&filter, other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GroupConflict);
        let (name, difference) = error.context().next().unwrap();
        assert_eq!(name, names);
        assert!(values.iter().all(|value| difference.contains(value)), "{error}");
        assert_eq!(error.context().count(), 1, "{error}");
    }
    // Another number in flight is no difference, nor is an own start.
    let other = options().max_in_flight(1).start(eventbus_core::Start::Latest);
    bus.subscribe(&filter, other).await.unwrap();
}

#[tokio::test]
async fn a_native_group_has_one_filter() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::native_group("exact");
    let _first = subscribe(&bus, "groups.one", options()).await;
    let _member = subscribe(&bus, "groups.one", options()).await;
    let error = bus.subscribe(&"groups.*".parse().unwrap(), options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GroupConflict);
    assert!(error.to_string().contains("filter is groups.one and not groups.*"), "{error}");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls until it waits; how often its task has been woken since is told by what is given.
fn wait(subscription: &mut Subscription) -> Arc<Wakes> {
    let wakes = Arc::new(Wakes::default());
    let waker = wakes.clone().into();
    let mut cx = Context::from_waker(&waker);
    loop {
        wakes.0.store(0, SeqCst);
        assert!(pin!(subscription.next()).poll(&mut cx).is_pending());
        if wakes.0.load(SeqCst) == 0 {
            return wakes;
        }
    }
}

#[tokio::test]
async fn who_waits_is_woken_though_those_woken_before_are_busy() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g");
    let mut reading = subscribe(&bus, "groups.one", options()).await;
    let mut members = Vec::new();
    for _ in 0..5 {
        members.push(subscribe(&bus, "groups.one", options()).await);
    }
    // What it holds expires before anything later, so that nobody is woken to set its alarm.
    publish(&bus, &TOPIC, 0).await;
    let _held = next(&mut reading).await;
    let wakes: Vec<_> = members.iter_mut().map(wait).collect();
    let woken = || wakes.iter().filter(|wakes| wakes.0.load(SeqCst) > 0).count();
    publish(&bus, &TOPIC, 1).await;
    let first = woken();
    assert!(first > 0 && first < members.len(), "{first}");
    // Another was faster, and none of the woken asks again.
    let _held = next(&mut reading).await;
    assert_eq!(woken(), first);
    publish(&bus, &TOPIC, 2).await;
    assert!(woken() > first, "a message is there, and a member waits for it");
}
