//! `eventbus compare`: side by side.

mod support;

#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use support::run;
#[cfg(target_os = "linux")]
use support::{Running, eventbus};

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
fn several_experiments_have_a_report_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("UTF-8");
    let wanted = ["--experiment", "topics,subscriptions", "--rounds", "1", "--report", place];
    let ended = run(&[&["compare"], &wanted[..]].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    for (name, cells) in
        [("topics", "async · 256 bytes · 1000"), ("subscriptions", "consume · 256 bytes · 16")]
    {
        assert!(ended.stdout.contains(cells), "expected {cells:?}: {ended}");
        for file in ["report.html", "comparison.json", &format!("{name}-throughput.svg")] {
            let file = directory.path().join(name).join(file);
            assert!(file.is_file(), "{} is missing", file.display());
        }
    }
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    for (arguments, code, expected) in [
        (&["--url", "carrier://pigeon"][..], 2, "no backend is known"),
        (&["--experiment", "magic"], 2, "ack-strategies"),
        (&["--experiment", "ack-strategies"], 2, "made on NATS"),
        (&["--experiment", "keys,ack-strategies"], 2, "made on NATS"),
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

#[cfg(target_os = "linux")]
#[test]
fn a_measurement_ends_when_compare_is_killed() {
    let endless = ["--mode", "async", "--burst", "1000000000", "--sustained-bytes", "0"];
    let url = ["--size", "64", "--url", "memory://?retention_bytes=1048576"];
    let running = Running::start(eventbus().arg("compare").args(endless).args(url));
    let mut child = None;
    until(|| {
        child = child.take().or_else(|| Measurement::of(running.child.id()));
        child.as_ref().is_some_and(Measurement::has_begun)
    });
    let child = child.expect("it was waited for");
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.end().code, None);
    until(|| child.has_ended());
}

#[cfg(target_os = "linux")]
#[test]
fn rounds_that_ended_are_kept_when_compare_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("UTF-8");
    let endless = ["--rounds", "100000", "--report", place];
    let running = Running::start(eventbus().args(SMALL).args(endless));
    let kept = directory.path().join("comparison.json");
    until(|| kept.is_file() && directory.path().join("report.html").is_file());
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.end().code, None);
    let again = run(&["compare", "--from", kept.to_str().expect("UTF-8")]);
    assert!(again.stdout.contains("eventbus memory"), "{again}");
}

/// The process of a measurement, killed when the test fails.
#[cfg(target_os = "linux")]
struct Measurement(rustix::process::Pid);

#[cfg(target_os = "linux")]
impl Measurement {
    fn of(parent: u32) -> Option<Self> {
        // Any thread of the runtime may have started it.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
        threads.flatten().find_map(|thread| {
            let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
            let id = children.split_whitespace().next()?.parse().ok()?;
            rustix::process::Pid::from_raw(id).map(Self)
        })
    }

    /// Whether the thread runs that watches what a load uses up.
    fn has_begun(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.as_raw_nonzero()));
        let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
        let mut names =
            threads.into_iter().flatten().flatten().filter_map(|thread| name(thread).ok());
        names.any(|name| name.trim() == "bench-monitor")
    }

    /// Whether it has ended, even if nobody has taken note.
    fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Measurement {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = rustix::process::kill_process(self.0, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(target_os = "linux")]
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}
