//! `eventbus bench`: the figures.

mod support;

use std::collections::BTreeSet;

use support::run;

/// The names are a promise to whoever reads the rows.
const NAMES: [&str; 19] = [
    "backend",
    "mode",
    "messages",
    "size",
    "acked",
    "failed",
    "elapsed_s",
    "msgs_per_s",
    "mb_per_s",
    "accept_us",
    "ack_us",
    "e2e_us",
    "idle_tasks",
    "peak_tasks",
    "leaked_tasks",
    "idle_rss_bytes",
    "peak_rss_bytes",
    "missing",
    "order_violations",
];

#[test]
fn each_mode_gives_the_row() {
    for (mode, accept, ack) in [
        ("async", true, true),
        ("batch", false, true),
        ("sync", false, true),
        ("consume", false, true),
    ] {
        let ended = run(&["bench", "--mode", mode, "--messages", "3000", "--json"]);
        assert_eq!(ended.code, Some(0), "{ended}");
        let row = ended.json();
        let names: BTreeSet<_> = row.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(names, NAMES.map(str::to_owned).into_iter().collect());
        assert_eq!(row["backend"], "memory");
        assert_eq!(row["mode"], mode);
        assert_eq!((&row["acked"], &row["failed"]), (&3000.into(), &0.into()), "{ended}");
        assert_eq!(row["order_violations"], 0, "{ended}");
        assert_eq!(row["leaked_tasks"], 0, "{ended}");
        assert!(row["peak_tasks"].as_u64() >= row["idle_tasks"].as_u64(), "{ended}");
        assert_eq!(row["accept_us"].is_object(), accept, "{ended}");
        assert_eq!(row["ack_us"].is_object(), ack, "{ended}");
        assert!(row["e2e_us"].is_null(), "{ended}");
        assert!(row["msgs_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{ended}");
        for quantile in ["p50", "p99", "p999", "max"] {
            assert!(row["ack_us"][quantile].is_f64(), "{quantile}: {ended}");
        }
    }
}

#[test]
fn a_consumer_at_the_same_time_gives_the_end_to_end_latency() {
    let ended = run(&[
        "bench",
        "--end-to-end",
        "--messages",
        "3000",
        "--publishers",
        "3",
        "--keys",
        "5",
        "--window",
        "64",
        "--json",
    ]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let row = ended.json();
    assert!(row["e2e_us"]["p50"].is_f64(), "{ended}");
    assert_eq!(row["order_violations"], 0, "{ended}");
}

#[test]
fn figures_that_a_run_does_not_have_are_null() {
    for arguments in [&["--keys", "0"][..], &["--size", "0"], &["--no-verify"]] {
        let ended = run(&[&["bench", "--messages", "500", "--json"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(ended.json()["order_violations"].is_null(), "{ended}");
    }
}

#[test]
fn the_row_reads_as_text_too() {
    let ended = run(&["bench", "--messages", "500"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for expected in ["msg/s", "500 acked   0 failed", "0 violations", "0 left after close"] {
        assert!(ended.stdout.contains(expected), "expected {expected:?}: {ended}");
    }
    assert!(ended.stderr.is_empty(), "no progress bar outside a terminal: {ended}");
}

#[test]
fn loads_that_make_no_sense_are_explained() {
    for (arguments, expected) in [
        (&["--mode", "consume", "--size", "8"][..], "at least 32 bytes"),
        (&["--messages", "0"], "--messages"),
        (&["--publishers", "0"], "between 1 and 1024"),
        (&["--batch-size", "0"], "at least 1"),
        (&["--window", "0"], "between 1 and"),
        (&["--size", "2000000", "--messages", "10"], "too large"),
        (&["--mode", "fast"], "async, batch, sync, consume"),
    ] {
        let ended = run(&[&["bench"], arguments].concat());
        assert!(matches!(ended.code, Some(1 | 2)), "{ended}");
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        assert!(ended.stdout.is_empty(), "{ended}");
    }
}
