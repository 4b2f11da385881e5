//! The probe and its faults.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use eventbus_core::{Error, ErrorKind, EventBus, EventBusExt, Registry, Topic};
use eventbus_memory::testing::{self, Probe};

use crate::support::{DEADLINE, connect, event, next, number, subscribe};

const TOPIC: Topic = Topic::from_static("testing.one");
const OTHER: Topic = Topic::from_static("testing.two");

fn fault(kind: ErrorKind) -> Error {
    Error::new(kind, "on order of the test")
}

#[tokio::test]
async fn failing_and_handing_back_come_in_the_order_of_their_orders() {
    let (bus, probe) = testing::bus().await;
    probe.fail_next(2, fault(ErrorKind::Rejected));
    probe.hand_back_next(1, fault(ErrorKind::Unavailable));
    let mut kinds = Vec::new();
    for number in 0..4 {
        let verdict = bus.publish_sync(&TOPIC, event(number)).await;
        kinds.push(verdict.err().map(|error| error.kind()));
    }
    let (rejected, unavailable) = (Some(ErrorKind::Rejected), Some(ErrorKind::Unavailable));
    assert_eq!(kinds, [rejected, rejected, unavailable, None]);
    let stored = probe.assert_published(&TOPIC, 1);
    assert_eq!(stored[0].payload().as_ref(), b"3");
}

#[tokio::test]
async fn what_is_handed_back_is_retried() {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    let url = "memory://?retry_max_elapsed=15s&retry_backoff=1ms";
    let bus = registry.builder(url).connect().await.unwrap();
    let probe = Probe::of(&*bus).unwrap();
    probe.hand_back_next(3, fault(ErrorKind::Unavailable));
    bus.publish_sync(&TOPIC, event(1)).await.unwrap();
    assert_eq!(bus.stats().retried, 3);
    probe.assert_published(&TOPIC, 1);
}

#[tokio::test]
async fn a_refused_topic_refuses_until_it_is_allowed() {
    let (bus, probe) = testing::bus().await;
    probe.refuse_topic(&TOPIC, fault(ErrorKind::PermissionDenied));
    for _ in 0..2 {
        let refused = bus.publish_sync(&TOPIC, event(1)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
    bus.publish_sync(&OTHER, event(2)).await.unwrap();
    probe.allow_topic(&TOPIC);
    bus.publish_sync(&TOPIC, event(3)).await.unwrap();
    probe.assert_published(&TOPIC, 1);
}

#[tokio::test]
async fn failures_that_nobody_waits_for_reach_the_handler() {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    let handled = failures.clone();
    let bus = registry
        .builder("memory://")
        .on_publish_failure(move |failure| handled.lock().unwrap().push(failure))
        .connect()
        .await
        .unwrap();
    Probe::of(&*bus).unwrap().fail_next(1, fault(ErrorKind::Rejected));
    bus.publish(&TOPIC, event(7)).await.unwrap();
    bus.flush().await.unwrap();
    let failures = failures.lock().unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].error().kind(), ErrorKind::Rejected);
    assert_eq!(failures[0].envelope().payload().as_ref(), b"7");
}

#[tokio::test]
async fn held_acknowledgements_are_stored_and_delivered_and_may_be_late() {
    let bus = connect("memory://?ack_timeout=50ms").await;
    let probe = Probe::of(&*bus).unwrap();
    let mut reader = subscribe(&bus, "testing.one", eventbus_core::SubscribeOptions::new()).await;
    probe.hold_acks();
    let waiting = bus.publish_with_receipt(&TOPIC, event(1)).await.unwrap();
    probe.assert_published(&TOPIC, 1);
    assert_eq!(number(&next(&mut reader).await), 1);
    assert_eq!(bus.stats().in_flight, 1);
    probe.release_acks();
    waiting.await.unwrap();
    probe.hold_acks();
    let late = bus.publish_sync(&TOPIC, event(2)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::AckTimeout);
    assert!(late.error().is_ambiguous());
    probe.release_acks();
    assert_eq!(bus.stats().late_acks, 1);
    bus.publish_sync(&TOPIC, event(3)).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_probe_waits_for_what_is_published() {
    let (bus, probe) = testing::bus().await;
    let waiting = tokio::spawn({
        let probe = probe.clone();
        async move { probe.wait_published(&TOPIC, 3, DEADLINE).await }
    });
    for number in 0..3 {
        tokio::task::yield_now().await;
        bus.publish(&TOPIC, event(number)).await.unwrap();
    }
    assert_eq!(waiting.await.unwrap().unwrap().len(), 3);
    let missing = probe.wait_published(&TOPIC, 4, Duration::from_millis(1)).await.unwrap_err();
    assert_eq!((missing.found, missing.wanted), (3, 4));
    assert!(missing.to_string().contains("3 of 4 messages"), "{missing}");
    assert!(probe.published(&OTHER).is_empty());
    assert_eq!(probe.wait_published(&OTHER, 0, DEADLINE).await.unwrap().len(), 0);
}

#[tokio::test]
#[should_panic(expected = "expected 2 messages in testing.one, found 1")]
async fn asserting_another_number_panics() {
    let (bus, probe) = testing::bus().await;
    bus.publish_sync(&TOPIC, event(1)).await.unwrap();
    probe.assert_published(&TOPIC, 2);
}

#[tokio::test]
async fn a_probe_sees_the_whole_broker_and_its_faults_are_of_one_bus() {
    let one = connect("memory://testing-shared").await;
    let two = connect("memory://testing-shared").await;
    let probe = Probe::of(&*one).unwrap();
    probe.fail_next(1, fault(ErrorKind::Rejected));
    two.publish_sync(&TOPIC, event(1)).await.unwrap();
    probe.assert_published(&TOPIC, 1);
    one.publish_sync(&TOPIC, event(2)).await.unwrap_err();
    let unknown: &dyn EventBus = &Foreign(one);
    assert!(Probe::of(unknown).is_none());
}

/// A bus around another one that shows nothing of it.
struct Foreign(Arc<dyn EventBus>);

#[async_trait::async_trait]
impl EventBus for Foreign {
    async fn publish_opts(
        &self,
        topic: &Topic,
        envelope: eventbus_core::Envelope,
        options: eventbus_core::PublishOptions,
    ) -> Result<(), eventbus_core::PublishError> {
        self.0.publish_opts(topic, envelope, options).await
    }

    async fn try_publish_opts(
        &self,
        topic: &Topic,
        envelope: eventbus_core::Envelope,
        options: eventbus_core::PublishOptions,
    ) -> Result<(), eventbus_core::PublishError> {
        self.0.try_publish_opts(topic, envelope, options).await
    }

    async fn publish_with_receipt_opts(
        &self,
        topic: &Topic,
        envelope: eventbus_core::Envelope,
        options: eventbus_core::PublishOptions,
    ) -> Result<eventbus_core::PendingReceipt, eventbus_core::PublishError> {
        self.0.publish_with_receipt_opts(topic, envelope, options).await
    }

    async fn publish_batch_opts(
        &self,
        topic: &Topic,
        envelopes: Vec<eventbus_core::Envelope>,
        options: eventbus_core::PublishOptions,
    ) -> Result<Vec<eventbus_core::Receipt>, eventbus_core::BatchError> {
        self.0.publish_batch_opts(topic, envelopes, options).await
    }

    async fn subscribe(
        &self,
        filter: &eventbus_core::TopicFilter,
        options: eventbus_core::SubscribeOptions,
    ) -> Result<eventbus_core::Subscription, Error> {
        self.0.subscribe(filter, options).await
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.0.ensure_topic(topic).await
    }

    async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.close().await
    }

    async fn health(&self) -> eventbus_core::Health {
        self.0.health().await
    }

    fn stats(&self) -> eventbus_core::Stats {
        self.0.stats()
    }

    fn capabilities(&self) -> eventbus_core::Capabilities {
        self.0.capabilities()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
