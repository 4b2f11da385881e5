//! The retry queue: what is sent again, in which order, and what is not.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod scripted;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use eventbus_core::{
    Bus, BusConfig, Envelope, Error, ErrorKind, EventBus, EventBusExt, PublishOptions, RetryPolicy,
    Topic,
};
use proptest::{prelude::*, test_runner::TestCaseError};
use scripted::{Answer, Scripted, Sent, bus, failures};

const TOPIC: Topic = Topic::from_static("orders.created");
const OTHER: Topic = Topic::from_static("orders.paid");

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "not now")
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

/// Hands the first envelope back and stores all others.
fn first_handed_back() -> impl FnMut(&Sent) -> Answer + Send {
    let mut first = true;
    move |_| {
        if std::mem::take(&mut first) { Answer::HandBack(unavailable()) } else { Answer::Store }
    }
}

#[tokio::test]
async fn without_a_policy_nothing_is_sent_twice() {
    let (seen, handler) = failures();
    let bus = bus(BusConfig::default(), handler, |_| Answer::HandBack(unavailable()));
    bus.publish(&TOPIC, numbered(1)).await.unwrap();
    bus.flush().await.unwrap();
    assert_eq!(bus.transport().sent.lock().unwrap().len(), 1);
    assert_eq!(seen.lock().unwrap()[0].error().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn policy_of_one_publish_overrides_that_of_the_bus() {
    let (_, handler) = failures();
    let mut refusals = 2;
    let bus = bus(BusConfig::default(), handler, move |_| {
        refusals -= 1;
        if refusals >= 0 { Answer::HandBack(unavailable()) } else { Answer::Store }
    });
    let policy = RetryPolicy::for_at_most(Duration::from_secs(20))
        .with_backoff(Duration::from_millis(1), Duration::from_millis(1));
    let options = PublishOptions::new().retry(policy);
    bus.publish_with_receipt_opts(&TOPIC, numbered(1), options).await.unwrap().await.unwrap();
    assert_eq!(bus.stats().retried, 2);
}

#[tokio::test]
async fn entry_that_gives_up_takes_its_successors_along() {
    let (seen, handler) = failures();
    let mut config = config();
    config.retry_max_elapsed = Duration::from_millis(30);
    let bus = bus(config, handler, |sent| match sent.key.as_deref() {
        Some("bad") => Answer::HandBack(unavailable()),
        _ => Answer::Store,
    });
    for number in 0..5 {
        bus.publish(&TOPIC, numbered(number).key("bad")).await.unwrap();
        bus.publish(&TOPIC, numbered(number).key("good")).await.unwrap();
    }
    bus.flush().await.unwrap();
    let failed: Vec<_> =
        seen.lock().unwrap().iter().map(|f| f.envelope().event_type().to_owned()).collect();
    assert_eq!(failed, ["0", "1", "2", "3", "4"]);
    assert_eq!(bus.transport().stored.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn overtaken_entry_fails_instead_of_inverting_the_order() {
    let (seen, handler) = failures();
    let bus = bus(config(), handler, |_| Answer::Silence);
    bus.publish(&TOPIC, numbered(1).key("k")).await.unwrap();
    bus.publish(&TOPIC, numbered(2).key("k")).await.unwrap();
    let sent = bus.transport().sent.lock().unwrap().clone();
    let verdicts = &bus.transport().verdicts;
    verdicts.retry(sent[0].id, unavailable());
    verdicts.complete(sent[1].id, Ok(bus.transport().store(&sent[1])));
    bus.flush().await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].envelope().event_type(), "1");
    assert_eq!(bus.stats().retried, 0);
}

#[tokio::test]
async fn key_keeps_its_order_when_only_some_of_it_may_be_retried() {
    let policy = RetryPolicy::for_at_most(Duration::from_secs(5))
        .with_backoff(Duration::from_millis(20), Duration::from_millis(20));
    for (config, first, second) in
        [(BusConfig::default(), Some(policy), None), (config(), None, Some(RetryPolicy::none()))]
    {
        let (_, handler) = failures();
        let bus = bus(config, handler, first_handed_back());
        for (number, policy) in [(1, first), (2, second)] {
            let options =
                policy.map_or_else(PublishOptions::new, |p| PublishOptions::new().retry(p));
            bus.publish_opts(&TOPIC, numbered(number).key("k"), options).await.unwrap();
        }
        bus.flush().await.unwrap();
        assert_eq!(Scripted::types(&bus.transport().stored), ["1", "2"]);
    }
}

#[tokio::test]
async fn ambiguous_successor_counts_as_stored() {
    let (seen, handler) = failures();
    let bus = bus(config(), handler, |_| Answer::Silence);
    bus.publish(&TOPIC, numbered(1).key("k")).await.unwrap();
    bus.publish(&TOPIC, numbered(2).key("k")).await.unwrap();
    let sent = bus.transport().sent.lock().unwrap().clone();
    bus.transport().verdicts.retry(sent[0].id, unavailable());
    let lost = Error::new(ErrorKind::AckTimeout, "the acknowledgement is lost");
    bus.transport().verdicts.complete(sent[1].id, Err(lost));
    bus.flush().await.unwrap();
    assert_eq!(Scripted::types(&bus.transport().sent), ["1", "2"]);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn options_and_counts_survive_the_retry_queue() {
    let (_, handler) = failures();
    let bus = bus(config(), handler, first_handed_back());
    for number in [1, 2] {
        let options = PublishOptions::new().idempotent();
        bus.publish_opts(&TOPIC, numbered(number).key("k"), options).await.unwrap();
    }
    bus.flush().await.unwrap();
    assert_eq!(Scripted::types(&bus.transport().sent), ["1", "1", "2"]);
    assert!(bus.transport().sent.lock().unwrap().iter().all(|sent| sent.idempotent));
    assert_eq!(bus.stats().retried, 1, "the second one was sent once");
}

#[tokio::test]
async fn extreme_policies_are_survived() {
    let (seen, handler) = failures();
    let mut left = 3;
    let bus = bus(BusConfig::default(), handler, move |_| {
        left -= 1;
        if left < 0 { Answer::Store } else { Answer::HandBack(unavailable()) }
    });
    let policy =
        RetryPolicy::for_at_most(Duration::MAX).with_backoff(Duration::ZERO, Duration::MAX);
    let options = PublishOptions::new().retry(policy);
    bus.publish_opts(&TOPIC, numbered(1), options).await.unwrap();
    bus.flush().await.unwrap();
    assert_eq!(bus.stats().acknowledged, 1);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn second_hand_back_is_ignored() {
    let (_, handler) = failures();
    let bus = bus(config(), handler, |_| Answer::Silence);
    bus.publish(&TOPIC, numbered(1).key("k")).await.unwrap();
    let sent = bus.transport().sent.lock().unwrap()[0].clone();
    bus.transport().verdicts.retry(sent.id, unavailable());
    bus.transport().verdicts.retry(sent.id, unavailable());
    bus.transport().verdicts.complete(sent.id, Ok(bus.transport().store(&sent)));
    bus.flush().await.unwrap();
    assert_eq!(bus.stats().acknowledged, 1);
}

#[tokio::test]
async fn retry_that_cannot_find_its_topic_does_not_stop_the_clock() {
    let (_, handler) = failures();
    let mut config = config();
    config.ack_timeout = Duration::from_millis(100);
    config.retry_backoff = Duration::from_millis(30);
    config.retry_max_backoff = Duration::from_millis(30);
    let bus = bus(config, handler, |sent| match sent.event_type.as_str() {
        "1" => Answer::HandBack(unavailable()),
        "2" => Answer::Fail(Error::new(ErrorKind::TopicNotFound, "gone")),
        "3" => Answer::Silence,
        _ => Answer::Store,
    });
    bus.publish(&OTHER, numbered(0)).await.unwrap();
    bus.publish(&TOPIC, numbered(1).key("a")).await.unwrap();
    bus.publish(&TOPIC, numbered(2).key("b")).await.unwrap();
    bus.transport().lost.store(true, Ordering::SeqCst);
    let receipt = bus.publish_with_receipt(&OTHER, numbered(3)).await.unwrap();
    let verdict = tokio::time::timeout(Duration::from_secs(20), receipt).await.unwrap();
    assert_eq!(verdict.unwrap_err().kind(), ErrorKind::AckTimeout);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    /// Whatever the transport answers, with verdicts held back, acknowledgements lost, and
    /// with and without policies: each envelope gets one verdict, and what is stored of a key
    /// is stored in order.
    #[test]
    fn retries_keep_the_order_of_each_key(
        publishes in proptest::collection::vec((0..3_u8, 0..3_u8), 1..60),
        answers in proptest::collection::vec(0..12_u8, 200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(keep_order(publishes, answers))?;
    }
}

async fn keep_order(publishes: Vec<(u8, u8)>, answers: Vec<u8>) -> Result<(), TestCaseError> {
    let (seen, handler) = failures();
    let mut answers = answers.into_iter().chain(std::iter::repeat(0));
    // Not stored, which the test reports later.
    let silent = Arc::new(Mutex::new(Vec::new()));
    let stored = Arc::new(Mutex::new(Vec::<Sent>::new()));
    let bus = bus(config(), handler, {
        let (silent, stored) = (silent.clone(), stored.clone());
        move |sent| {
            let answer = match answers.next() {
                Some(6 | 7) => return Answer::HandBack(unavailable()),
                Some(8) => return Answer::Fail(Error::new(ErrorKind::Rejected, "never")),
                Some(9) => {
                    silent.lock().unwrap().push(sent.clone());
                    return Answer::Silence;
                }
                Some(11) => return Answer::Lose,
                // Stored, and the acknowledgement is lost.
                Some(10) => Answer::Lose,
                _ => Answer::Store,
            };
            stored.lock().unwrap().push(sent.clone());
            answer
        }
    });
    for (number, (key, policy)) in publishes.iter().enumerate() {
        let options = match policy {
            0 => PublishOptions::new().retry(RetryPolicy::none()),
            1 => PublishOptions::new(),
            _ => PublishOptions::new().retry(config().retry()),
        };
        let envelope = numbered(number).key(key.to_string());
        bus.publish_opts(&TOPIC, envelope, options).await.unwrap();
        if number % 7 == 0 {
            hand_back(&bus, &silent);
        }
    }
    let started = Instant::now();
    while bus.stats().in_flight > 0 {
        hand_back(&bus, &silent);
        tokio::task::yield_now().await;
        prop_assert!(started.elapsed() < Duration::from_secs(30), "some never get a verdict");
    }
    let stats = bus.stats();
    prop_assert_eq!(stats.acknowledged + stats.failed, publishes.len() as u64);
    prop_assert_eq!(seen.lock().unwrap().len() as u64, stats.failed);
    let mut newest = HashMap::new();
    for sent in stored.lock().unwrap().iter() {
        let number: usize = sent.event_type.parse().unwrap();
        let before = newest.insert(sent.key.clone(), number);
        prop_assert!(before.is_none_or(|before| before < number), "{before:?} then {number}");
    }
    bus.close().await.unwrap();
    Ok(())
}

fn hand_back(bus: &Bus<Scripted>, silent: &Mutex<Vec<Sent>>) {
    for sent in std::mem::take(&mut *silent.lock().unwrap()) {
        // What came after it may have been stored: then it must not be sent again.
        bus.transport().verdicts.retry(sent.id, unavailable());
    }
}

#[tokio::test]
async fn what_is_sent_again_to_a_raw_topic_is_raw_again() {
    let (_, handler) = failures();
    let mut config = config();
    config.raw = "orders.created".parse().unwrap();
    let bus = bus(config, handler, first_handed_back());
    bus.publish_sync(&TOPIC, numbered(1)).await.unwrap();
    bus.publish_sync(&OTHER, numbered(2)).await.unwrap();
    let sent = bus.transport().sent.lock().unwrap();
    assert_eq!(sent.iter().map(|sent| sent.raw).collect::<Vec<_>>(), [true, true, false]);
}
