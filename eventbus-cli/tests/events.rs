//! Events through the program: `run`, `pub` and `sub`.

mod support;

use std::{fmt::Write as _, io::Write as _, path::PathBuf, process::Stdio};

use support::{eventbus, run, run_with_input};
use tempfile::TempDir;

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl");
    std::fs::write(&path, text).expect("writable");
    (directory, path)
}

fn orders(count: u32) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (topic, customer) = (["created", "paid"][number as usize % 2], number % 7);
        let _ = writeln!(
            text,
            r#"{{"topic":"orders.{topic}","key":"c{customer}","payload":{{"number":{number}}}}}"#,
        );
    }
    text
}

#[test]
fn a_file_goes_through_the_bus_in_each_mode() {
    let (_directory, path) = file(&orders(3000));
    let path = path.to_str().expect("UTF-8");
    for mode in ["async", "batch", "sync"] {
        let ended = run(&["run", path, "--mode", mode, "--json"]);
        assert_eq!(ended.code, Some(0), "{ended}");
        let facts = ended.json();
        assert_eq!(facts["ok"], true, "{ended}");
        assert_eq!(facts["mode"], mode);
        assert_eq!(facts["topics"]["orders.paid"], 1500);
        for count in ["events", "stored", "delivered"] {
            assert_eq!(facts[count], 3000, "{count}: {ended}");
        }
        assert_eq!(facts["failed"], 0);
        assert_eq!(facts["keys"], 14);
        assert_eq!(facts["order_violations"], 0);
    }
}

#[test]
fn a_run_is_told_as_text() {
    let (_directory, path) = file(&orders(20));
    let ended = run(&["run", path.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for expected in [
        "10  orders.created",
        "ok      every event was stored",
        "20 of 20",
        "14 keys, 0 out of order",
    ] {
        assert!(ended.stdout.contains(expected), "expected {expected:?}: {ended}");
    }
    assert!(ended.stderr.is_empty(), "{ended}");
}

#[test]
fn what_is_not_stored_is_a_broken_promise() {
    let large = format!("{{\"topic\":\"a\",\"payload_text\":\"{}\"}}\n", "x".repeat(2000));
    let (_directory, path) = file(&format!("{}{large}{}", orders(3), orders(3)));
    let path = path.to_str().expect("UTF-8");
    for mode in ["async", "batch", "sync"] {
        let url = "memory://?max_envelope_bytes=1000";
        let ended = run(&["run", path, "--mode", mode, "--url", url]);
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.stderr.contains("not stored: line 4: "), "{ended}");
        assert!(ended.stderr.contains("too large"), "{ended}");
        assert!(ended.stdout.contains("BROKEN  every event was stored"), "{ended}");
        assert!(ended.stdout.contains("6 of 7"), "{ended}");
        assert!(ended.stdout.contains("6 of 6"), "{ended}");
        let facts = run(&["run", path, "--mode", mode, "--url", url, "--json"]).json();
        assert_eq!((&facts["ok"], &facts["stored"]), (&false.into(), &6.into()), "{facts}");
        assert_eq!((&facts["failed"], &facts["delivered"]), (&1.into(), &6.into()), "{facts}");
    }
}

#[test]
fn files_that_are_no_events_are_explained() {
    let (directory, path) = file("{\"topic\":\"a\"}\n\n{\"topic\":\"a\",\"playload\":1}\n");
    let path = path.to_str().expect("UTF-8");
    let (_other, empty) = file("\n\n");
    let missing = directory.path().join("missing.jsonl");
    for (path, expected) in [
        (path, "line 3: unknown field `playload`, expected one of"),
        (empty.to_str().expect("UTF-8"), "it has no events"),
        (missing.to_str().expect("UTF-8"), "No such file"),
        (directory.path().to_str().expect("UTF-8"), "it is a directory"),
    ] {
        let ended = run(&["run", path]);
        assert_eq!(ended.code, Some(2), "{ended}");
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
        assert!(ended.stderr.contains("`eventbus run --help`"), "what to do: {ended}");
        assert!(ended.stdout.is_empty(), "{ended}");
    }
}

#[test]
fn events_are_published_from_arguments_and_lines() {
    let ended = run(&["pub", "orders", "{\"id\":1}", "--mode", "sync", "--header", "a=b"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.starts_with("1 event stored   sync, "), "{ended}");
    assert!(ended.stdout.contains("last at memory:orders:0:0"), "{ended}");
    assert!(ended.stderr.contains("eventbus run FILE"), "{ended}");

    for mode in ["async", "batch", "sync"] {
        let ended = run_with_input(&["pub", "x", "--mode", mode, "--json"], &orders(1200));
        assert_eq!(ended.code, Some(0), "{ended}");
        let facts = ended.json();
        assert_eq!((&facts["stored"], &facts["failed"]), (&1200.into(), &0.into()));
    }

    let ended = run_with_input(&["pub", "logs", "--raw", "--json"], "one\n\ntwo\n");
    assert_eq!(ended.json()["stored"], 2, "{ended}");
}

#[test]
fn how_it_ended_is_said_also_when_nobody_reads_the_summary() {
    let mut child = eventbus()
        .args(["pub", "orders"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    child.stdin.take().expect("piped").write_all(b"{}\n{\"key\":7}\n").expect("it reads");
    let ended = child.wait_with_output().expect("an end");
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(said.contains("line 2: "), "{said}");
}

#[test]
fn a_bad_line_ends_it_and_what_came_before_is_stored() {
    for mode in ["async", "batch", "sync"] {
        let input = "{}\n{}\n{\"key\":7}\n{}\n";
        let ended = run_with_input(&["pub", "orders", "--mode", mode], input);
        assert_eq!(ended.code, Some(2), "{ended}");
        assert!(ended.stdout.starts_with("2 events stored"), "{ended}");
        assert!(ended.stderr.contains("standard input, line 3: "), "{ended}");
        assert!(ended.stderr.contains("integer `7`, expected a string"), "{ended}");
        assert!(ended.stderr.contains("--raw"), "what to do: {ended}");
    }
}

#[test]
fn what_cannot_be_stored_is_told_and_the_rest_is_stored() {
    let large = format!("{{\"payload_text\":\"{}\"}}", "x".repeat(2000));
    for mode in ["async", "batch", "sync"] {
        let url = "memory://?max_envelope_bytes=1000";
        let arguments = ["pub", "orders", "--mode", mode, "--url", url];
        let ended = run_with_input(&arguments, &format!("{{}}\n{large}\n{{}}\n"));
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.stdout.starts_with("2 events stored, 1 not stored"), "{ended}");
        assert!(ended.stderr.contains("not stored: line 2: "), "{ended}");
        assert!(ended.stderr.contains("publish a reference"), "what to do: {ended}");
    }
}

#[cfg(unix)]
mod signals {
    use super::*;
    use rustix::process::Signal;
    use std::process::Stdio;
    use support::Running;

    #[test]
    fn ctrl_c_ends_a_subscriber_gracefully() {
        for signal in [Signal::INT, Signal::TERM] {
            for arguments in [&["sub", "orders.>"][..], &["sub", "orders", "--group", "g"]] {
                let mut running = Running::start(eventbus().args(arguments));
                running.until_it_says("Ctrl-C ends");
                running.signal(signal);
                let ended = running.end();
                assert_eq!(ended.code, Some(0), "{ended}");
                assert!(ended.stderr.contains("0 events printed"), "{ended}");
                assert!(!ended.stderr.contains("error"), "{ended}");
            }
        }
    }

    #[test]
    fn ctrl_c_before_the_count_is_an_interruption() {
        let mut running = Running::start(eventbus().args(["sub", "orders", "--count", "3"]));
        running.until_it_says("Ctrl-C ends");
        running.signal(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.code, Some(130), "{ended}");
    }

    #[test]
    fn ctrl_c_ends_a_publisher_after_what_it_has_read() {
        let mut command = eventbus();
        command.args(["pub", "orders", "--mode", "sync", "--json"]);
        let mut running = Running::start(command.stdin(Stdio::piped()));
        running.until_it_says("note: memory://");
        running.signal(Signal::INT);
        let ended = running.end();
        assert_eq!(ended.code, Some(130), "{ended}");
        assert_eq!(ended.json()["stored"], 0, "{ended}");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error() {
        let mut running = Running::start(eventbus().arg("demo"));
        drop(running.child.stdout.take());
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(ended.stderr.is_empty(), "{ended}");
    }
}
