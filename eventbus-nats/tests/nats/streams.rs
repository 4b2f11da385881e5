//! Streams and consumers that exist already, or go away.

use std::time::Duration;

use eventbus_core::{
    BusConfig, ErrorKind, EventBus, EventBusExt, PublishOptions, ReceiveError, SubscribeOptions,
    Topic, TopicFilter,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use test_brokers::Nats;

use crate::steps::{
    PATIENCE, TOPIC, api, connect, connect_with, event, next, number, publish, raw, until,
};

/// A stream for all topics, as somebody else makes it.
pub(crate) fn stream(overrides: &Value) -> Value {
    let mut stream = json!({
        "name": "EVENTBUS", "subjects": ["eb.>"], "retention": "limits", "storage": "file",
        "num_replicas": 1, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "old",
    });
    let all = stream.as_object_mut().unwrap();
    all.extend(overrides.as_object().unwrap().clone());
    stream
}

#[tokio::test]
async fn an_existing_stream_that_fits_is_used_as_it_is() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    let config = stream(&json!({"storage": "memory", "description": "ours"}));
    api(&client, "STREAM.CREATE.EVENTBUS", &config).await;
    let bus = connect(server.url()).await.unwrap();
    publish(&bus, 1).await.unwrap();
    let info = api(&client, "STREAM.INFO.EVENTBUS", &Value::Null).await;
    assert_eq!(info["config"]["description"], "ours");
    assert_eq!(info["config"]["storage"], "memory");
    assert_eq!(info["state"]["messages"], 1);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn an_atomic_batch_for_a_stream_that_takes_none_is_refused_whole() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    api(&client, "STREAM.CREATE.EVENTBUS", &stream(&json!({}))).await;
    let bus = connect(server.url()).await.unwrap();
    let batch = (1..=3).map(|n| event("k", n)).collect();
    let options = PublishOptions::new().atomic();
    let error = bus.publish_batch_opts(&TOPIC, batch, options).await.unwrap_err();
    assert_eq!(error.failures().len(), 3);
    for failure in error.failures() {
        assert_eq!(failure.error.kind(), ErrorKind::Unsupported, "{failure:?}");
        assert!(failure.error.error().to_string().contains("allow_atomic"), "{failure:?}");
    }
    let info = api(&client, "STREAM.INFO.EVENTBUS", &Value::Null).await;
    assert_eq!(info["state"]["messages"], 0);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn an_existing_stream_that_does_not_fit_is_reported_with_the_difference() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    let config = stream(&json!({"retention": "workqueue", "subjects": ["eb.orders.*"]}));
    api(&client, "STREAM.CREATE.EVENTBUS", &config).await;
    let url = format!("{}?storage=memory&max_age=1h", server.url());
    let bus = connect(&url).await.unwrap();
    let error = publish(&bus, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConflict, "{error}");
    let text = error.to_string();
    for part in [
        "[eb.orders.*] lack eb.>",
        "`retention` is workqueue, configured is limits",
        "`storage` is file, configured is memory",
        "`max_age` is 0s, configured is 1h",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let info = api(&client, "STREAM.INFO.EVENTBUS", &Value::Null).await;
    assert_eq!(info["config"]["retention"], "workqueue", "it was changed");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn subjects_of_another_stream_are_a_conflict() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    let config = stream(&json!({"name": "OTHER", "subjects": ["eb.orders.>"]}));
    api(&client, "STREAM.CREATE.OTHER", &config).await;
    let bus = connect(server.url()).await.unwrap();
    let error = bus.ensure_topic(&TOPIC).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicConflict, "{error}");
    assert!(error.to_string().contains("another stream"), "{error}");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn without_the_stream_verifying_finds_no_topic_and_ensuring_creates_it() {
    let server = Nats::start().await.unwrap();
    let bus = connect(&format!("{}?provision=verify", server.url())).await.unwrap();
    let error = publish(&bus, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound, "{error}");
    assert!(error.to_string().contains("EVENTBUS"), "{error}");
    bus.ensure_topic(&TOPIC).await.unwrap();
    publish(&bus, 1).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn topics_go_to_the_streams_that_are_mapped() {
    let server = Nats::start().await.unwrap();
    let url = format!(
        "{}?prefix=app.one&streams=ORDERS:orders.>;AUDIT:audit.*,bills&storage=memory\
         &duplicate_window=1500ms",
        server.url()
    );
    let bus = connect(&url).await.unwrap();
    let audit = Topic::from_static("audit.login");
    let everything = TopicFilter::from_static(">");
    let mut subscription = bus.subscribe(&everything, SubscribeOptions::group("g")).await.unwrap();
    bus.publish_sync(&TOPIC, event("k", 1)).await.unwrap();
    bus.publish_sync(&audit, event("k", 2)).await.unwrap();
    let error = bus.publish_sync(&Topic::from_static("lost"), event("k", 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound, "{error}");
    let client = raw(&server).await;
    let info = api(&client, "STREAM.INFO.AUDIT", &Value::Null).await;
    assert_eq!(info["config"]["subjects"], json!(["app.one.audit.*", "app.one.bills"]));
    assert_eq!(info["config"]["duplicate_window"], 1_500_000_000_u64);
    assert_eq!(info["state"]["messages"], 1);
    let (first, second) = (next(&mut subscription).await, next(&mut subscription).await);
    let mut numbers = [number(&first), number(&second)];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    let consumer = api(&client, "CONSUMER.INFO.ORDERS.g@=", &Value::Null).await;
    assert_eq!(consumer["config"]["filter_subject"], "app.one.orders.>");
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_deleted_underneath_is_no_topic_and_the_next_publish_creates_it() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    publish(&bus, 1).await.unwrap();
    let group = SubscribeOptions::group("g");
    let mut subscription = bus.subscribe(&TOPIC.filter(), group).await.unwrap();
    next(&mut subscription).await.ack_confirmed().await.unwrap();
    api(&raw(&server).await, "STREAM.DELETE.EVENTBUS", &Value::Null).await;
    let error = publish(&bus, 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound, "{error}");
    let ended = tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap();
    assert!(matches!(&ended, Some(Err(ReceiveError::Terminal(_)))), "{ended:?}");
    publish(&bus, 3).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn without_a_stream_nobody_answers() {
    let server = Nats::start().await.unwrap();
    let bus = connect(&format!("{}?provision=none", server.url())).await.unwrap();
    let error = publish(&bus, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TopicNotFound, "{error}");
    assert!(!error.is_ambiguous(), "{error}");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_full_stream_that_refuses_is_a_rejection() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    let config = stream(&json!({"max_bytes": 4000, "discard": "new"}));
    api(&client, "STREAM.CREATE.EVENTBUS", &config).await;
    let bus = connect(server.url()).await.unwrap();
    let mut stored = 0;
    let error = loop {
        match publish(&bus, stored).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "it never was full");
    };
    assert!(stored > 0);
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("maximum bytes exceeded"), "{error}");
    assert!(!error.is_ambiguous() && !error.is_temporary());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_message_too_large_for_the_stream_is_too_large() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    api(&client, "STREAM.CREATE.EVENTBUS", &stream(&json!({"max_msg_size": 20}))).await;
    let bus = connect(server.url()).await.unwrap();
    let error = publish(&bus, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_native_group_joins_the_consumer_of_others() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    publish(&bus, 1).await.unwrap();
    let client = raw(&server).await;
    let consumer = json!({"stream_name": "EVENTBUS", "config": {
        "durable_name": "theirs", "name": "theirs", "ack_policy": "explicit", "max_deliver": -1,
        "ack_wait": 30_000_000_000_u64, "deliver_policy": "all", "replay_policy": "instant",
        "filter_subject": "eb.orders.created",
    }});
    api(&client, "CONSUMER.CREATE.EVENTBUS.theirs.eb.orders.created", &consumer).await;
    let native = SubscribeOptions::native_group("theirs");
    let other = native.clone().ack_wait(Duration::from_millis(1500));
    let error = bus.subscribe(&TOPIC.filter(), other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GroupConflict);
    assert!(error.to_string().contains("`ack_wait` is 30s, asked for was 1s 500ms"), "{error}");
    let mut subscription = bus.subscribe(&TOPIC.filter(), native).await.unwrap();
    next(&mut subscription).await.ack_confirmed().await.unwrap();
    let info = api(&client, "CONSUMER.INFO.EVENTBUS.theirs", &Value::Null).await;
    assert_eq!(info["ack_floor"]["stream_seq"], 1);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn the_consumer_of_a_reader_without_a_group_goes_with_it() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    publish(&bus, 1).await.unwrap();
    let client = raw(&server).await;
    let reader = bus.subscribe(&TOPIC.filter(), SubscribeOptions::new()).await.unwrap();
    let consumers = async || {
        let info = api(&client, "STREAM.INFO.EVENTBUS", &Value::Null).await;
        info["state"]["consumer_count"].as_u64().unwrap()
    };
    assert_eq!(consumers().await, 1);
    drop(reader);
    until("the consumer is gone", async || consumers().await == 0).await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn the_order_of_a_redelivery_is_that_of_the_delay() {
    let server = Nats::start().await.unwrap();
    let bus = connect(server.url()).await.unwrap();
    let options = SubscribeOptions::group("g");
    let mut subscription = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    publish(&bus, 1).await.unwrap();
    let delay = Duration::from_millis(700);
    let nacked = std::time::Instant::now();
    next(&mut subscription).await.nack(delay).await.unwrap();
    let again = next(&mut subscription).await;
    assert!(nacked.elapsed() >= delay, "after {:?}", nacked.elapsed());
    assert_eq!(again.attempt(), 2);
    again.ack().await.unwrap();
    bus.close().await.unwrap();
}

/// Something took a message and never answered, as a stream does that is being deleted; with
/// `strict_order` it is repeated, and its key waits for it.
#[tokio::test]
async fn a_stream_that_went_away_with_an_answer_is_made_again() {
    let server = Nats::start().await.unwrap();
    let client = raw(&server).await;
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(1);
    let bus = connect_with(&format!("{}?strict_order=true", server.url()), config).await;
    publish(&bus, 0).await.unwrap();
    let mut taker = client.subscribe("eb.orders.created").await.unwrap();
    api(&client, "STREAM.DELETE.EVENTBUS", &Value::Null).await;
    let pending = bus.publish_with_receipt(&TOPIC, event("k", 1)).await.unwrap();
    tokio::time::timeout(PATIENCE, taker.next()).await.expect("nothing was written").unwrap();
    taker.unsubscribe().await.unwrap();
    let error = pending.await.unwrap_err();
    assert!(error.error().is_ambiguous(), "{error}");
    until("the stream is made again", async || publish(&bus, 2).await.is_ok()).await;
    bus.close().await.unwrap();
}
