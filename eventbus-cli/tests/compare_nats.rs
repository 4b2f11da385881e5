//! `eventbus compare` with a real NATS server, its raw client and its own tool.

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use support::{Ended, Running, eventbus, wait};
use test_brokers::{Nats, prepare};

/// A server, and the `nats` command.
struct Broker {
    server: Nats,
    tool: std::path::PathBuf,
}

impl Broker {
    async fn start() -> Self {
        let server = Nats::start().await.expect("a server");
        Self { server, tool: prepare::nats_cli().await.expect("the tool") }
    }

    fn compare(&self, arguments: &[&str]) -> Command {
        let mut command = eventbus();
        command.arg("compare").args(arguments);
        command.env("EVENTBUS_NATS_URL", self.server.url());
        command.env("EVENTBUS_PEER_NATS_CLI", &self.tool);
        command
    }

    /// Interrupts a comparison while it measures on the broker, to which `before` happens first.
    #[cfg(unix)]
    async fn interrupted(&self, arguments: &[&str], before: impl FnOnce()) -> Ended {
        let running = Running::start(&mut self.compare(arguments));
        until(|| self.streams().contains("cmp-")).await;
        before();
        running.signal(rustix::process::Signal::INT);
        let ended = running.end();
        assert_eq!(ended.code, Some(130), "{ended}");
        ended
    }

    fn streams(&self) -> String {
        let mut command = Command::new(&self.tool);
        command.args(["stream", "ls", "--names"]).env("NATS_URL", self.server.url());
        wait(&mut command).stdout
    }
}

const LITTLE: [&str; 8] =
    ["--size", "256", "--burst", "500", "--sustained-bytes", "1", "--rounds", "1"];

#[tokio::test]
async fn everybody_takes_part_in_every_mode_and_nothing_is_left() {
    let broker = Broker::start().await;
    let report = tempfile::tempdir().expect("a directory");
    let directory = report.path().to_str().expect("UTF-8");
    let ended =
        wait(&mut broker.compare(&[&LITTLE[..], &["--json", "--report", directory]].concat()));
    assert_eq!(ended.code, Some(0), "{ended}");
    let comparison = ended.json();
    let rows = comparison["rows"].as_array().expect("rows");
    for party in ["eventbus memory", "eventbus nats", "async-nats", "nats bench"] {
        for mode in ["async", "batch", "sync", "consume"] {
            let of_mode: Vec<_> =
                rows.iter().filter(|row| row["party"] == party && row["mode"] == mode).collect();
            assert!(!of_mode.is_empty(), "{party} {mode}: {ended}");
            for row in of_mode {
                let sample = &row["runs"][0]["outcome"]["Ok"];
                assert_eq!(sample["acked"], row["messages"], "{party} {mode}: {row}");
                assert!(sample["msgs_per_s"].as_f64() > Some(0.0), "{party} {mode}: {row}");
            }
        }
    }
    let page = std::fs::read_to_string(report.path().join("report.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("nats bench v"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href="), "it needs something else");
    assert!(report.path().join("summary.svg").is_file());
    assert!(!broker.streams().contains("cmp-"), "streams are left: {}", broker.streams());
}

#[tokio::test]
async fn the_wrong_way_has_tasks_that_follow_the_load() {
    let broker = Broker::start().await;
    let ended =
        wait(&mut broker.compare(&["--experiment", "ack-strategies", "--rounds", "1", "--json"]));
    assert_eq!(ended.code, Some(0), "{ended}");
    let comparison = ended.json();
    let largest = |party: &str| {
        let mut rows = comparison["rows"].as_array().expect("rows").iter();
        let row = rows.rfind(|row| row["party"] == party).expect("a row");
        row["runs"][0]["outcome"]["Ok"].clone()
    };
    let peak = |party: &str| largest(party)["peak_tasks"].as_u64().expect("a count");
    assert!(peak("a task per message") > 100, "{ended}");
    assert!(peak("eventbus nats") <= 8, "{ended}");
    assert_eq!(largest("eventbus nats")["leaked_tasks"], 0, "{ended}");
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_it_shows_what_it_has_and_tidies_up() {
    let broker = Broker::start().await;
    let endless = ["--only-buses", "--mode", "async", "--burst", "0", "--rounds", "1000"];
    let ended = broker.interrupted(&endless, || {}).await;
    assert!(ended.stdout.contains("eventbus memory"), "{ended}");
    assert!(ended.stdout.contains("stopped after"), "{ended}");
    assert!(!broker.streams().contains("cmp-"), "streams are left: {}", broker.streams());
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_it_does_not_wait_for_a_broker_that_does_not_answer() {
    let broker = Broker::start().await;
    let long = ["--only-buses", "--mode", "sync", "--burst", "0", "--sustained-bytes", "100000000"];
    let ended = broker.interrupted(&long, || broker.server.pause().expect("paused")).await;
    assert!(ended.stdout.contains("eventbus memory"), "{ended}");
    assert!(ended.stderr.contains("may be left"), "{ended}");
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_while_a_tool_is_tuned_it_tidies_up() {
    let broker = Broker::start().await;
    let long = ["--mode", "async", "--burst", "0", "--sustained-bytes", "100000000"];
    broker.interrupted(&long, || {}).await;
    assert!(!broker.streams().contains("cmp-"), "streams are left: {}", broker.streams());
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
