//! The suite itself: it cannot pass without a broker, and it can be used scenario by scenario.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::Arc;

use async_trait::async_trait;
use conformance_tests::Memory;
use eventbus_conformance::{Context, Faults, Feature, Harness, Request, Verdict, order, scenarios};
use eventbus_core::{Error, ErrorKind, EventBus};

/// A broker that is not there, whatever the harness says that it could do.
struct Away(Vec<Feature>);

#[async_trait]
impl Harness for Away {
    fn name(&self) -> &str {
        "away"
    }

    fn features(&self) -> &[Feature] {
        &self.0
    }

    async fn connect(&self, _: Request) -> Result<Arc<dyn EventBus>, Error> {
        Err(Error::new(ErrorKind::Unavailable, "nobody is there"))
    }

    fn faults(&self, _: &dyn EventBus) -> Option<Box<dyn Faults>> {
        None
    }
}

const EVERYTHING: &[Feature] = &[
    Feature::FailSends,
    Feature::HoldAcks,
    Feature::UnansweredClose,
    Feature::SingleTopics,
    Feature::FailedConnect,
    Feature::Plant,
    Feature::PlantHeaders,
    Feature::Retention,
    Feature::Partitions,
    Feature::Restart,
    Feature::Pause,
];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_every_scenario_fails() {
    let harness = Arc::new(Away(EVERYTHING.to_vec()));
    for scenario in scenarios() {
        let harness = harness.clone();
        // Some assert before they connect.
        let verdict = tokio::spawn(scenario.run(harness)).await;
        let failed = matches!(verdict, Err(_) | Ok(Verdict::Failed(_)));
        assert!(failed, "{scenario:?} does not need a broker: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_feature_nothing_counts_as_passed() {
    let harness = Arc::new(Away(Vec::new()));
    for scenario in scenarios().filter(|scenario| !scenario.needs().is_empty()) {
        let verdict = scenario.run(harness.clone()).await;
        assert!(!matches!(verdict, Verdict::Passed), "{scenario:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_are_plain_functions() {
    let context = || Context::new(Arc::new(Memory::new()));
    order::one_key_published_asynchronously(context()).await.unwrap();
    order::per_key_waits_for_a_nacked_one(context()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_run_by_module() {
    for scenario in scenarios().filter(|scenario| scenario.module() == "order") {
        let verdict = scenario.run(Arc::new(Memory::new())).await;
        assert!(!matches!(verdict, Verdict::Failed(_)), "{scenario:?}: {verdict:?}");
    }
}
