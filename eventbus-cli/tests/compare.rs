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
fn mistakes_are_told_before_anything_is_measured() {
    for (arguments, code, expected) in [
        (&["--url", "carrier://pigeon"][..], 2, "no backend is known"),
        (&["--experiment", "magic"], 2, "ack-strategies"),
        (&["--experiment", "ack-strategies"], 2, "made on NATS"),
        (&["--mode", "fast"], 2, "async, batch, sync, consume"),
        (&["--sustained-bytes", "0", "--burst", "0", "--mode", "sync"], 2, "nothing is left"),
        (&["--quick", "--experiment", "keys"], 2, "cannot be used with"),
    ] {
        let ended = run(&[&["compare"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{ended}");
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
        assert!(ended.stdout.is_empty(), "{ended}");
    }
}
