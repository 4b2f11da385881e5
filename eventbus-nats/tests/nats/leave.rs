//! Who leaves a group gives back what it has not handed out.

use std::ops::Range;

use eventbus_core::{EventBus, EventBusExt, Ordering, SubscribeOptions};
use serde_json::Value;
use test_brokers::Nats;

use crate::steps::{TOPIC, api, connect, event, next, number, raw, until};

/// Publishes, and waits until the server has delivered it, while nothing else in the test goes on.
fn publish_meanwhile(server: &Nats, numbers: Range<u64>) {
    let published = || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let bus = connect(server.url()).await.unwrap();
            for n in numbers.clone() {
                bus.publish_sync(&TOPIC, event("k", n)).await.unwrap();
            }
            bus.close().await.unwrap();
            delivered(server, numbers.end).await;
        });
    };
    std::thread::scope(|scope| scope.spawn(published).join()).unwrap();
}

/// Waits until the only consumer was sent so many messages.
async fn delivered(server: &Nats, count: u64) {
    let client = raw(server).await;
    let names = api(&client, "CONSUMER.NAMES.EVENTBUS", &Value::Null).await;
    let info = format!("CONSUMER.INFO.EVENTBUS.{}", names["consumers"][0].as_str().unwrap());
    until("it is delivered", async || {
        api(&client, &info, &Value::Null).await["delivered"]["consumer_seq"] == count
    })
    .await;
}

/// What a subscription asks for at once.
const ASKED: u64 = 19;

/// Some messages wait in the subscription and others are on their way to it, all that it has asked
/// for, when it is dropped after any number of steps of its tasks.
#[tokio::test]
async fn the_next_member_goes_on_in_order_whenever_the_last_one_leaves() {
    for steps in 0..8 {
        let server = Nats::start().await.unwrap();
        let options = SubscribeOptions::group("g").ordering(Ordering::PerKey);
        let options = options.max_in_flight(ASKED as usize);
        let bus = connect(server.url()).await.unwrap();
        bus.publish_sync(&TOPIC, event("k", 0)).await.unwrap();
        let mut leaving = bus.subscribe(&TOPIC.filter(), options.clone()).await.unwrap();
        next(&mut leaving).await.ack().await.unwrap();
        publish_meanwhile(&server, 1..10);
        next(&mut leaving).await.ack().await.unwrap();
        publish_meanwhile(&server, 10..ASKED);
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        drop(leaving);
        bus.close().await.unwrap();
        let bus = connect(server.url()).await.unwrap();
        let mut staying = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
        for expected in 2..ASKED {
            let delivery = next(&mut staying).await;
            assert_eq!(number(&delivery), expected, "after {steps} steps");
            delivery.ack().await.unwrap();
        }
        bus.close().await.unwrap();
    }
}
