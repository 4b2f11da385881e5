//! `eventbus compare`: side by side.

mod support;

use support::run;

const SMALL: [&str; 9] =
    ["compare", "--mode", "async", "--size", "64", "--burst", "200", "--sustained-bytes", "0"];

#[test]
fn two_settings_are_compared_as_json() {
    let more = ["--url", "tiny=memory://?max_in_flight=16", "--rounds", "2", "--json"];
    let ended = run(&[&SMALL[..], &more].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    let comparison = ended.json();
    let rows = comparison["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "{ended}");
    assert_eq!(rows[0]["party"], "eventbus tiny");
    assert_eq!(rows[0]["runs"].as_array().map(Vec::len), Some(2), "{ended}");
    assert_eq!(rows[0]["runs"][0]["outcome"]["Ok"]["acked"], 200, "{ended}");
    assert!(comparison["machine"]["cores"].as_u64() > Some(0), "{ended}");
}

#[test]
fn memory_is_compared_where_nothing_else_is_there() {
    let ended = run(&[&SMALL[..], &["--rounds", "1"]].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    for expected in ["eventbus memory", "burst of 200", "100 %"] {
        assert!(ended.stdout.contains(expected), "expected {expected:?}: {ended}");
    }
}

#[test]
fn an_earlier_comparison_is_shown_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("UTF-8");
    let first = run(&[&SMALL[..], &["--rounds", "1", "--report", place]].concat());
    assert_eq!(first.code, Some(0), "{first}");
    let page = directory.path().join("report.html");
    let made = std::fs::read(&page).expect("a page");
    std::fs::remove_file(&page).expect("it is there");
    let from = directory.path().join("comparison.json");
    let from = from.to_str().expect("UTF-8");
    let again = run(&["compare", "--from", from, "--report", place]);
    assert_eq!((again.code, &again.stdout), (Some(0), &first.stdout), "{again}");
    assert_eq!(std::fs::read(&page).expect("a page"), made);
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    for (arguments, code, expected) in [
        (&["--url", "carrier://pigeon"][..], 2, "no backend is known"),
        (&["--experiment", "magic"], 2, "ack-strategies"),
        (&["--experiment", "ack-strategies"], 2, "made on NATS"),
        (&["--mode", "fast"], 2, "async, batch, sync, consume"),
        (&["--sustained-bytes", "0", "--burst", "0", "--mode", "sync"], 2, "nothing is left"),
        (&["--from", "/nowhere/comparison.json"], 2, "cannot be read"),
        (&["--from", "/dev/null"], 2, "holds no comparison"),
        (&["--quick", "--experiment", "keys"], 2, "cannot be used with"),
    ] {
        let ended = run(&[&["compare"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{ended}");
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
        assert!(ended.stdout.is_empty(), "{ended}");
    }
}
