//! Publishing: idempotence, order, receipts.

use std::time::Duration;

use eventbus_core::{EventBusExt, PublishOptions, Topic};
use eventbus_memory::testing::Probe;

use crate::support::{connect, event};

const TOPIC: Topic = Topic::from_static("publishing.one");
const OTHER: Topic = Topic::from_static("publishing.two");

#[tokio::test(start_paused = true)]
async fn an_id_is_stored_once_within_the_window_and_the_topic() {
    let bus = connect("memory://?duplicate_window=10s").await;
    let probe = Probe::of(&*bus).unwrap();
    let envelope = event(1);
    let once = || PublishOptions::new().idempotent();
    let receipt = async |topic: &'static Topic, options| {
        let pending = bus.publish_with_receipt_opts(topic, envelope.clone(), options).await;
        pending.unwrap().await.unwrap()
    };
    static TOPICS: [Topic; 2] = [TOPIC, OTHER];
    let first = receipt(&TOPICS[0], once()).await;
    assert!(!first.is_duplicate());
    tokio::time::advance(Duration::from_secs(10)).await;
    let second = receipt(&TOPICS[0], once()).await;
    assert!(second.is_duplicate());
    assert_eq!(second.position(), first.position());
    assert!(!receipt(&TOPICS[1], once()).await.is_duplicate(), "another topic");
    assert!(!receipt(&TOPICS[0], PublishOptions::new()).await.is_duplicate(), "not asked for");
    probe.assert_published(&TOPIC, 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!receipt(&TOPICS[0], once()).await.is_duplicate(), "after the window");
    probe.assert_published(&TOPIC, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_each_task_publishes_is_stored_in_its_order() {
    const TASKS: usize = 8;
    const EACH: usize = 200;
    let bus = connect("memory://?max_in_flight=16").await;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let bus = bus.clone();
        tasks.push(tokio::spawn(async move {
            for number in 0..EACH {
                let envelope = event(number).key(task.to_string());
                bus.publish(&TOPIC, envelope).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    bus.flush().await.unwrap();
    let stored = Probe::of(&*bus).unwrap().assert_published(&TOPIC, TASKS * EACH);
    for task in 0..TASKS {
        let key = task.to_string();
        let of_task = stored.iter().filter(|e| e.aggregate_id() == Some(&key));
        let numbers: Vec<usize> =
            of_task.map(|e| str::from_utf8(e.payload()).unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn receipts_have_positions_from_zero() {
    let bus = connect("memory://").await;
    let receipts = bus.publish_batch(&TOPIC, (0..10).map(event).collect()).await.unwrap();
    for (offset, receipt) in receipts.iter().enumerate() {
        let expected = format!("memory:publishing.one:0:{offset}");
        assert_eq!(receipt.position().unwrap().to_string(), expected);
    }
}
