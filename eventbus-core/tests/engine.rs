//! The engine against a transport whose every verdict the test decides. What needs messages
//! to arrive is in the conformance suite.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod scripted;

use std::time::Duration;

use eventbus_core::{
    BusConfig, Capabilities, Envelope, Error, ErrorKind, EventBus, EventBusExt, PublishOptions,
    RetryPolicy, Topic,
};
use scripted::{Answer, bus, bus_with, failures};

const TOPIC: Topic = Topic::from_static("orders.created");

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "not now")
}

fn rejected() -> Error {
    Error::new(ErrorKind::Rejected, "never")
}

fn numbered(number: usize) -> Envelope {
    Envelope::new(number.to_string(), "x")
}

fn config() -> BusConfig {
    let mut config = BusConfig::default();
    config.retry_max_elapsed = Duration::from_secs(20);
    config.retry_backoff = Duration::from_millis(1);
    config.retry_max_backoff = Duration::from_millis(2);
    config
}

#[tokio::test]
async fn entry_dropped_by_the_transport_reaches_the_handler() {
    let (seen, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::Lose);
    bus.publish(&TOPIC, numbered(1)).await.unwrap();
    bus.flush().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].envelope().event_type(), "1");
    assert!(seen[0].error().is_ambiguous());
    assert_eq!(bus.stats().in_flight, 0);
}

#[tokio::test]
async fn publishing_in_a_loop_lets_other_tasks_run() {
    let (_, handler) = failures();
    let bus = std::sync::Arc::new(bus(BusConfig::default(), handler, |_| Answer::Store));
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move {
            for n in 0..10_000 {
                bus.publish(&TOPIC, numbered(n)).await.unwrap();
            }
        }
    });
    tokio::task::yield_now().await;
    assert!(bus.stats().published < 10_000);
    publisher.await.unwrap();
}

#[tokio::test]
async fn second_verdict_is_ignored_and_late_ones_are_counted() {
    let (seen, handler) = failures();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_millis(20);
    let bus = bus(config, handler, |_| Answer::Silence);
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(1)).await.unwrap();
    let error = receipt.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AckTimeout);
    assert!(error.error().is_ambiguous());
    let sent = bus.transport().sent.lock().unwrap()[0].clone();
    bus.transport().verdicts.complete(sent.id, Ok(bus.transport().store(&sent)));
    bus.transport().verdicts.complete(sent.id, Err(rejected()));
    let stats = bus.stats();
    assert_eq!((stats.late_acks, stats.failed, stats.acknowledged), (1, 1, 0));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn late_verdict_does_not_settle_the_next_entry_of_its_slot() {
    let (_, handler) = failures();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_millis(20);
    config.max_in_flight = 1;
    let bus = bus(config, handler, |_| Answer::Silence);
    let _ = bus.publish_sync(&TOPIC, numbered(1)).await.unwrap_err();
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(2)).await.unwrap();
    let first = bus.transport().sent.lock().unwrap()[0].clone();
    bus.transport().verdicts.complete(first.id, Ok(bus.transport().store(&first)));
    assert_eq!(receipt.await.unwrap_err().kind(), ErrorKind::AckTimeout);
}

#[tokio::test]
async fn native_retries_prolong_the_timeout_and_refuse_another_policy() {
    let (_, handler) = failures();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_millis(20);
    config.retry_max_elapsed = Duration::from_secs(600);
    let mut capabilities = Capabilities::new(usize::MAX);
    capabilities.native_retry = true;
    let bus = bus_with(capabilities, config, handler, |_| Answer::Silence);
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(1)).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(200), receipt).await;
    assert!(waited.is_err(), "the transport was still trying");
    let options = PublishOptions::new().retry(RetryPolicy::none());
    let refused = bus.publish_with_receipt_opts(&TOPIC, numbered(2), options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn close_reports_what_waits_for_a_retry() {
    let (seen, handler) = failures();
    let mut config = config();
    config.close_timeout = Duration::from_millis(20);
    let bus = bus(config, handler, |_| Answer::HandBack(unavailable()));
    for number in 0..3 {
        bus.publish(&TOPIC, numbered(number).key("k")).await.unwrap();
    }
    let error = bus.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AckTimeout);
    assert_eq!(seen.lock().unwrap().len(), 3);
    assert_eq!(bus.stats().in_flight, 0);
}

#[tokio::test]
async fn flush_waits_for_the_handler_of_a_failure_whose_receipt_is_dropped() {
    let (seen, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::Fail(rejected()));
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(1)).await.unwrap();
    drop(receipt);
    bus.flush().await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!((bus.stats().in_flight, bus.stats().failed), (0, 1));
}

#[tokio::test]
async fn receipt_dropped_after_the_close_hands_its_failure_to_the_handler() {
    let (seen, handler) = failures();
    let mut config = BusConfig::default();
    config.close_timeout = Duration::from_millis(20);
    let bus = bus(config, handler, |_| Answer::Silence);
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(1)).await.unwrap();
    bus.close().await.unwrap_err();
    drop(receipt);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn receipt_dropped_after_the_bus_hands_its_failure_to_the_handler() {
    let (seen, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::Silence);
    let receipt = bus.publish_with_receipt(&TOPIC, numbered(1)).await.unwrap();
    drop(bus);
    drop(receipt);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn durations_that_clocks_cannot_hold_are_refused() {
    for field in ["ack_timeout", "close_timeout", "retry_max_elapsed", "retry_max_backoff"] {
        let mut config = BusConfig::default();
        *match field {
            "ack_timeout" => &mut config.ack_timeout,
            "close_timeout" => &mut config.close_timeout,
            "retry_max_elapsed" => &mut config.retry_max_elapsed,
            _ => &mut config.retry_max_backoff,
        } = Duration::MAX;
        let error = config.validate().unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_follow_a_paused_clock() {
    let (_, handler) = failures();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_secs(3600);
    let bus = bus(config, handler, |_| Answer::Silence);
    let before = tokio::time::Instant::now();
    let error = bus.publish_sync(&TOPIC, numbered(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AckTimeout);
    assert!(before.elapsed() >= Duration::from_secs(3600));
}
