//! The figures are right, also when things go wrong.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use eventbus_bench::{Load, Mode, Report, run};
use eventbus_core::{Error, ErrorKind, EventBus, Registry, Topic};
use eventbus_memory::testing::Probe;

async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    registry.builder(url).on_publish_failure(|_| {}).connect().await
}

async fn measure(load: &Load, url: &str) -> Result<Report, Error> {
    run("memory", load, connect(url), |_| {}).await
}

fn load(mode: Mode) -> Load {
    Load::new(mode, 2000, 100).keys(10).publishers(3).batch_size(64)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_modes_count_every_message() {
    for mode in Mode::ALL {
        let done = Arc::new(AtomicU64::new(0));
        let count = done.clone();
        let progress = move |more| {
            count.fetch_add(more, Ordering::Relaxed);
        };
        let report = run("memory", &load(mode), connect("memory://"), progress).await.unwrap();
        assert_eq!((report.acked, report.failed), (2000, 0), "{report}");
        assert_eq!(done.load(Ordering::Relaxed), 2000, "{mode}");
        assert_eq!(report.order_violations, Some(0), "{report}");
        assert_eq!(report.leaked_tasks, 0, "{report}");
        assert!(report.ack_us.is_some() && report.elapsed_s > 0.0, "{report}");
        let rate = report.acked as f64 / report.elapsed_s;
        assert!((report.msgs_per_s / rate - 1.0).abs() < 0.01, "{report}");
        assert!((report.mb_per_s / (rate * 100.0 / 1e6) - 1.0).abs() < 0.5, "{report}");
        assert_eq!(report.peak_rss_bytes.is_some(), cfg!(target_os = "linux"));
    }
}

#[tokio::test]
async fn one_thread_and_a_tiny_window_are_enough() {
    for mode in Mode::ALL {
        let load = load(mode).end_to_end(mode != Mode::Consume).consumer_window(1);
        let report = measure(&load, "memory://?max_in_flight=1").await.unwrap();
        assert_eq!((report.acked, report.failed), (2000, 0), "{report}");
        assert_eq!(report.e2e_us.is_some(), mode != Mode::Consume, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_spread_over_topics() {
    for mode in [Mode::Async, Mode::Sync, Mode::Consume] {
        for keys in [10, 0] {
            let bus = connect("memory://").await.unwrap();
            let (topic, lent) = (Topic::from_static("bench.spread"), bus.clone());
            let load = load(mode).keys(keys).topics(7).topic(topic);
            let report = run("memory", &load, async { Ok(lent) }, |_| {}).await.unwrap();
            assert_eq!((report.acked, report.failed), (2000, 0), "{report}");
            assert_eq!(report.order_violations, (keys > 0).then_some(0), "{report}");
            let probe = Probe::of(&*bus).expect("a memory bus");
            for number in 0..7 {
                let topic = format!("bench.spread.{number}").parse().unwrap();
                assert!(probe.published(&topic).len() > 2000 / 10, "{mode} {number}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_gets_everything() {
    let load = load(Mode::Consume).subscriptions(3);
    let report = measure(&load, "memory://").await.unwrap();
    assert_eq!((report.acked, report.failed), (6000, 0), "{report}");
    assert_eq!((report.order_violations, report.leaked_tasks), (Some(0), 0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted() {
    for mode in [Mode::Async, Mode::Batch, Mode::Sync] {
        let failing = async {
            let bus = connect("memory://").await?;
            let error = Error::new(ErrorKind::AckTimeout, "not today");
            Probe::of(&*bus).expect("a memory bus").fail_next(7, error);
            Ok(bus)
        };
        let report = run("memory", &load(mode), failing, |_| {}).await.unwrap();
        assert_eq!((report.acked, report.failed), (1993, 7), "{mode}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_can_only_fail_is_given_up() {
    for mode in [Mode::Async, Mode::Batch, Mode::Sync] {
        let error = measure(&load(mode), "memory://?max_envelope_bytes=50").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stays_away_is_not_waited_for_with_each_message() {
    for mode in [Mode::Batch, Mode::Sync] {
        let connecting = async {
            let bus = connect("memory://?ack_timeout=1ms").await?;
            Probe::of(&*bus).expect("a memory bus").hold_acks();
            Ok(bus)
        };
        let done = Arc::new(AtomicU64::new(0));
        let count = done.clone();
        let progress = move |more| {
            count.fetch_add(more, Ordering::Relaxed);
        };
        let load = load(mode).publishers(1);
        let error = run("memory", &load, connecting, progress).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AckTimeout, "{mode}");
        assert!(error.to_string().contains("failed_in_a_row"), "{error}");
        assert!(done.load(Ordering::Relaxed) < 2000, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_is_missing_and_no_violation() {
    let url = "memory://?retention_bytes=65536";
    let load = |mode| load(mode).publishers(1);
    let report = measure(&load(Mode::Consume), url).await.unwrap();
    assert!(report.acked > 0 && report.failed > 0, "{report}");
    assert_eq!(report.acked + report.failed, 2000, "{report}");
    assert_eq!((report.missing, report.order_violations), (None, Some(0)), "{report}");
    let report = measure(&load(Mode::Async), url).await.unwrap();
    assert_eq!(report.acked, 2000, "{report}");
    assert!(report.missing.is_some_and(|missing| (1..2000).contains(&missing)), "{report}");
    assert_eq!(report.order_violations, None, "not all were looked at: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_left_is_seen() {
    let leaking = async {
        tokio::spawn(std::future::pending::<()>());
        connect("memory://").await
    };
    let load = Load::new(Mode::Async, 100, 100);
    let report = run("memory", &load, leaking, |_| {}).await.unwrap();
    assert_eq!(report.leaked_tasks, 1, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_be_used_again() {
    let topic = Topic::from_static("bench.again");
    let url = "memory://bench-again";
    let _keeps_the_broker = connect(url).await.unwrap();
    for mode in [Mode::Async, Mode::Consume, Mode::Batch, Mode::Consume] {
        let load = load(mode).topic(topic.clone()).end_to_end(mode == Mode::Batch);
        let report = measure(&load, url).await.unwrap();
        assert_eq!((report.acked, report.failed), (2000, 0), "{report}");
        assert_eq!(report.order_violations, Some(0), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_that_make_no_sense_are_refused() {
    let load = Load::new(Mode::Async, 10, 100);
    for (load, expected) in [
        (Load::new(Mode::Async, 0, 100), "messages"),
        (load.clone().publishers(0), "publishers"),
        (load.clone().batch_size(0), "batch_size"),
        (load.clone().keys(u32::MAX), "keys"),
        (load.clone().topics(0), "topics"),
        (load.clone().topics(65), "`keys` as `topics`"),
        (Load::new(Mode::Batch, 10, 100).topics(2), "one topic"),
        (Load::new(Mode::Consume, 10, 100).subscriptions(0), "subscriptions"),
        (load.clone().subscriptions(2), "only the mode `consume`"),
        (Load::new(Mode::Consume, 10, 31), "32 bytes"),
        (Load::new(Mode::Sync, 10, 31).end_to_end(true), "32 bytes"),
    ] {
        let error = measure(&load, "memory://").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_names_in_json_are_a_promise() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let load = Load::new(Mode::Sync, 10, 0);
    let report = runtime.block_on(measure(&load, "memory://")).unwrap();
    let row = serde_json::to_value(&report).unwrap();
    let names: BTreeSet<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let promised = "backend mode messages size acked failed elapsed_s msgs_per_s mb_per_s \
        accept_us ack_us e2e_us idle_tasks peak_tasks leaked_tasks idle_rss_bytes \
        peak_rss_bytes missing order_violations";
    assert_eq!(names, promised.split_whitespace().collect());
    assert!(row["accept_us"].is_null() && row["order_violations"].is_null(), "{row}");
    let quantiles: Vec<_> = row["ack_us"].as_object().unwrap().keys().collect();
    assert_eq!(quantiles, ["max", "p50", "p99", "p999"]);
}
