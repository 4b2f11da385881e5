//! What is used, and what is left.

use std::time::Duration;

use eventbus_core::{EventBusExt, SubscribeOptions, Topic};

use crate::support::{DEADLINE, connect, event, next, now, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("resources.one");

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn the_backend_has_no_tasks_of_its_own() {
    let before = tasks();
    let bus = connect("memory://").await;
    let connected = tasks();
    let mut open = Vec::new();
    for _ in 0..50 {
        let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
        open.push(subscribe(&bus, "resources.*", options).await);
    }
    for subscription in &mut open {
        assert!(now(subscription).await.is_none());
    }
    for number in 0..100 {
        publish(&bus, &TOPIC, number).await;
    }
    assert_eq!(tasks(), connected);
    bus.close().await.unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while tasks() > before {
        assert!(tokio::time::Instant::now() < deadline, "tasks are left");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_never_waits_lets_others_run() {
    let bus = connect("memory://").await;
    for number in 0..5000 {
        bus.publish(&TOPIC, event(number)).await.unwrap();
    }
    let other = tokio::spawn(async {});
    let mut reader = subscribe(&bus, "resources.one", SubscribeOptions::group("g")).await;
    let mut read = 0;
    while !other.is_finished() {
        // Without a timeout, which would let others run by itself.
        let Some(delivery) = reader.try_next().await.unwrap() else { break };
        delivery.ack().await.unwrap();
        read += 1;
        assert!(read < 5000, "the other task had to wait until all was read");
    }
}

#[tokio::test]
async fn subscriptions_that_come_and_go_leave_nothing() {
    let bus = connect("memory://").await;
    let mut constant = subscribe(&bus, "resources.one", SubscribeOptions::group("g")).await;
    for number in 0..2000 {
        let mut passing = subscribe(&bus, "resources.*", SubscribeOptions::new()).await;
        let mut member = subscribe(&bus, "resources.one", SubscribeOptions::group("h")).await;
        publish(&bus, &TOPIC, number).await;
        // Dropped unsettled, and nobody will ever get it again.
        drop(next(&mut passing).await);
        assert_eq!(take(&mut member, 1).await, [number]);
    }
    assert_eq!(take(&mut constant, 2000).await.len(), 2000);
}
