//! Atomic batches: one verdict for all, and their place among what is retried.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod scripted;

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    BatchError, Bus, BusConfig, Capabilities, Envelope, Error, ErrorKind, EventBus, EventBusExt,
    FailureHandler, PublishOptions, Receipt, Topic, backend::Stored,
};
use scripted::{Answer, Scripted, Sent, bus_with, failures};

const TOPIC: Topic = Topic::from_static("orders.created");

fn bus(
    config: BusConfig,
    handler: FailureHandler,
    script: impl FnMut(&Sent) -> Answer + Send + 'static,
) -> Arc<Bus<Scripted>> {
    let mut capabilities = Capabilities::new(usize::MAX);
    capabilities.atomic_batch = true;
    capabilities.max_atomic_batch = 10;
    Arc::new(bus_with(capabilities, config, handler, script))
}

fn retrying(backoff: Duration) -> BusConfig {
    let mut config = BusConfig::default();
    config.retry_max_elapsed = Duration::from_secs(600);
    config.retry_backoff = backoff;
    config
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "not now")
}

fn keyed(name: &str) -> Envelope {
    Envelope::new(name, "x").key("k")
}

async fn publish(bus: &Bus<Scripted>, names: &[&str]) -> Result<Vec<Receipt>, BatchError> {
    let batch = names.iter().map(|name| keyed(name)).collect();
    bus.publish_batch_opts(&TOPIC, batch, PublishOptions::new().atomic()).await
}

#[tokio::test]
async fn receipts_follow_the_first_one() {
    let (_, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::Store);
    bus.publish_sync(&TOPIC, keyed("a")).await.unwrap();
    let receipts = publish(&bus, &["b", "c", "d"]).await.unwrap();
    let offsets: Vec<_> = receipts.iter().map(|r| r.position().unwrap().offset()).collect();
    assert_eq!(offsets, [1, 2, 3]);
    assert_eq!(bus.stats().acknowledged, 4);
}

#[tokio::test]
async fn a_failure_is_that_of_all_at_once() {
    let (_, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::Silence);
    let publishing = tokio::spawn({
        let bus = bus.clone();
        async move { publish(&bus, &["a", "b", "c"]).await }
    });
    while bus.transport().sent.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = bus.transport().sent.lock().unwrap()[1].id;
    bus.transport().verdicts.complete(second, Err(unavailable()));
    assert_eq!(bus.stats().failed, 3);
    assert_eq!(publishing.await.unwrap().unwrap_err().failures().len(), 3);
}

#[tokio::test]
async fn a_late_answer_changes_nothing() {
    let (_, handler) = failures();
    let mut config = BusConfig::default();
    config.ack_timeout = Duration::from_millis(50);
    let bus = bus(config, handler, |_| Answer::Silence);
    let error = publish(&bus, &["a", "b", "c"]).await.unwrap_err();
    assert_eq!(error.failures().len(), 3);
    let first = bus.transport().sent.lock().unwrap()[0].id;
    bus.transport().verdicts.complete(first, Ok(Stored::at(0, Some(7))));
    let stats = bus.stats();
    assert_eq!((stats.in_flight, stats.failed, stats.acknowledged), (0, 3, 0));
}

#[tokio::test]
async fn it_does_not_overtake_what_waits_for_a_retry() {
    let (seen, handler) = failures();
    let config = retrying(Duration::from_secs(60));
    let bus = bus(config, handler, |_| Answer::HandBack(unavailable()));
    bus.publish(&TOPIC, keyed("first")).await.unwrap();
    let error = publish(&bus, &["a", "b"]).await.unwrap_err();
    assert_eq!(error.failures().len(), 2);
    let refused = error.failures()[0].error.error();
    assert!(refused.is_temporary() && !refused.is_ambiguous(), "{refused}");
    assert_eq!(Scripted::types(&bus.transport().sent), ["first"]);
    let stats = bus.stats();
    assert_eq!((stats.in_flight, stats.refused), (1, 2));
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_it_has_overtaken_is_not_sent_again() {
    let (seen, handler) = failures();
    let script = |sent: &Sent| match sent.event_type.as_str() {
        "first" => Answer::Silence,
        _ => Answer::Store,
    };
    let bus = bus(retrying(Duration::from_millis(1)), handler, script);
    bus.publish(&TOPIC, keyed("first")).await.unwrap();
    publish(&bus, &["a", "b"]).await.unwrap();
    let first = bus.transport().sent.lock().unwrap()[0].id;
    bus.transport().verdicts.retry(first, unavailable());
    bus.flush().await.unwrap();
    assert_eq!(Scripted::types(&bus.transport().sent), ["first", "a", "b"]);
    assert_eq!(seen.lock().unwrap().len(), 1, "it leaves a gap");
}

#[tokio::test]
async fn it_is_never_sent_again_itself() {
    let (_, handler) = failures();
    let mut answers = [Answer::HandBack(unavailable())].into_iter();
    let script = move |_: &Sent| answers.next().unwrap_or(Answer::Store);
    let bus = bus(retrying(Duration::from_millis(1)), handler, script);
    // Of two keys, so that neither waits for the other.
    let batch = vec![keyed("a"), Envelope::new("b", "x").key("another")];
    let options = PublishOptions::new().atomic();
    let error = bus.publish_batch_opts(&TOPIC, batch, options).await.unwrap_err();
    let kinds: Vec<_> = error.failures().iter().map(|failure| failure.error.kind()).collect();
    assert_eq!(kinds, [ErrorKind::Unavailable; 2]);
    assert_eq!(Scripted::types(&bus.transport().sent), ["a", "b"]);
}
