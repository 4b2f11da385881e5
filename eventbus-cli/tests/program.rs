//! The program as its users meet it: what it prints, where, and how it exits.

mod support;

use serde_json::Value;
use support::{Ended, eventbus, run};

/// Asserts that the program refused, said `expected`, and did not panic.
#[track_caller]
fn refused(ended: &Ended, code: i32, expected: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended}");
    assert!(ended.stdout.is_empty(), "nothing but results on standard output: {ended}");
    for expected in expected {
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
    }
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "Error {"] {
        assert!(!ended.stderr.contains(noise), "{ended}");
    }
}

#[test]
fn the_demo_tells_what_was_shown() {
    let ended = run(&["demo"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for fact in [
        "1,000 orders accepted",
        "4 of 5 stored; index 2 came back: too large",
        "1 order stored after",
        "billing   1,005 orders received, 1,004 acknowledged, 1 moved to dead.billing",
        "shipping  1,005 orders received, 1,005 acknowledged",
        "order 13  failed 3 attempts, moved with its reason (\"all attempts failed\")",
        "ok      nothing accepted is lost",
        "1,005 orders + 1 dead letter: 1,006 acknowledged, 0 failed",
        "0 after close",
    ] {
        assert!(ended.stdout.contains(fact), "expected {fact:?}: {ended}");
    }
    assert!(!ended.stdout.contains("BROKEN"), "{ended}");
    assert!(!ended.stdout.contains('\x1b'), "colours only on a terminal: {ended}");
    assert!(ended.stderr.is_empty(), "{ended}");
}

#[test]
fn the_demo_works_with_a_window_of_one() {
    let ended = run(&["demo", "--url", "memory://?max_in_flight=1", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let facts = ended.json();
    assert_eq!(facts["ok"], true);
    assert_eq!(facts["batch"]["stored"], 4);
    assert_eq!(facts["batch"]["failed"][0]["index"], 2);
    assert_eq!(facts["billing"]["dead_lettered"], 1);
    assert_eq!(facts["billing"]["retried"], 3);
    assert_eq!(facts["dead_letter"]["order"], 13);
    assert_eq!(facts["shipping"]["acknowledged"], 1005);
    assert_eq!(facts["promises"].as_array().map(Vec::len), Some(6));
}

#[test]
fn info_tells_what_a_backend_can_do() {
    let text = run(&["info"]);
    assert_eq!(text.code, Some(0), "{text}");
    for fact in ["memory://", "healthy", "largest message", "idempotent_publish"] {
        assert!(text.stdout.contains(fact), "expected {fact:?}: {text}");
    }
    let json = run(&["info", "--json"]).json();
    assert_eq!(json["backend"], "memory");
    assert_eq!(json["health"]["status"], "healthy");
    assert!(json["backends"].as_array().is_some_and(|all| all.contains(&"memory".into())));
    assert!(json["capabilities"]["durable"].is_boolean());
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_url_comes_from_the_environment_too() {
    let ended = support::wait(eventbus().arg("info").env("EVENTBUS_URL", "nowhere://x"));
    refused(&ended, 2, &["unknown scheme", "nowhere", "memory"]);
    let ended = support::wait(
        eventbus()
            .args(["info", "--json", "--url", "memory://"])
            .env("EVENTBUS_URL", "nowhere://x"),
    );
    assert_eq!(ended.json()["backend"], "memory");
}

#[test]
fn bad_urls_are_explained() {
    for (url, expected) in [
        ("memory", "starts with a scheme, such as `memory://`"),
        ("", "starts with a scheme"),
        ("nowhere://x", "no backend is known for this scheme"),
        ("memory://?max_inflight=1", "max_in_flight, "),
        ("memory://?max_in_flight=many", "whole number"),
        ("memory://?ack_timeout=5", "500ms"),
        ("memory://?max_in_flight=0", "between 1 and"),
    ] {
        for command in [&["info"][..], &["demo"], &["pub", "a", "1"], &["sub", "a"]] {
            let ended = run(&[command, &["--url", url]].concat());
            refused(&ended, 2, &[expected]);
        }
    }
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let ended = run(&["info", "--url", "nowhere://x", "--json"]);
    assert_eq!(ended.code, Some(2));
    let error: Value = serde_json::from_str(&ended.stderr).expect("one line of JSON");
    assert_eq!(error["exit_code"], 2);
    assert!(error["error"].as_str().is_some_and(|text| text.contains("unknown scheme")));
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    for (arguments, expected) in [
        (&["pub", "a b", "1"][..], "only A-Z, a-z, 0-9"),
        (&["pub", "orders.*", "1"], "cannot be published to"),
        (&["sub", "a..b"], "no leading, trailing or doubled dots"),
        (&["sub", "a.>.b"], "the whole last segment"),
        (&["sub", "a", "--from", "yesterday"], "how long ago, such as `15m`"),
        (&["sub", "a", "--from", "latest", "--from", "earliest"], "only for positions"),
        (&["sub", "a", "--group", "a b"], "1 to 100 characters"),
        (&["sub", "a", "--count", "0"], "--count"),
        (&["sub", "a", "--from", "kafka:a:0:1"], "another backend"),
        (&["pub", "a", "1", "--header", "x"], "NAME=VALUE"),
        (&["pub", "a", "1", "--mode", "fast"], "async, batch, sync"),
        (&["pub", "a", "1", "--batch-size", "0"], "--batch-size"),
        (&["pipe", "--from", "memory://", "--to", "memory://", "a"], "lives in this process"),
        (&["pipe", "--from", "memory://", "a"], "--to <URL>"),
        (
            &["pipe", "--from", "memory://", "--to", "memory://", "a", "--until-idle", "soon"],
            "--until-idle",
        ),
        (&["frobnicate"], "unrecognized subcommand"),
        (&[], "Usage:"),
    ] {
        refused(&run(arguments), 2, &[expected]);
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let ended = run(&["--help"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for expected in ["Examples:", "Exit codes:", "EVENTBUS_URL", "eventbus demo"] {
        assert!(ended.stdout.contains(expected), "expected {expected:?}: {ended}");
    }
    for command in ["demo", "run", "pub", "sub", "pipe", "info"] {
        let help = run(&[command, "--help"]).stdout;
        assert!(help.contains("Examples:"), "{help}");
    }
}

#[test]
fn secrets_in_the_url_are_not_shown() {
    let url = "nowhere://user:hunter2@host?password=hunter3";
    for arguments in [&["info"][..], &["--help"], &["sub", "a"]] {
        let ended = support::wait(eventbus().args(arguments).env("EVENTBUS_URL", url));
        assert!(!ended.to_string().contains("hunter"), "{ended}");
    }
}
