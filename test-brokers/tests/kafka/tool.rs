//! Kafka's own tools, the client of these tests.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use test_brokers::{Kafka, prepare};

/// Runs one with `input`; gives what it printed.
pub(crate) fn tool(kafka: &Kafka, class: &str, arguments: &[&str], input: &str) -> String {
    let output = run(kafka, class, arguments, input);
    assert!(output.status.success(), "{class}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs one with `input`, to its end.
pub(crate) fn run(kafka: &Kafka, class: &str, arguments: &[&str], input: &str) -> Output {
    let mut tool = Command::new("java")
        .args(["-XX:-UsePerfData", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(class_path())
        .arg(class)
        .args(["--bootstrap-server", kafka.bootstrap()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that ends without reading it is judged by its status.
    let _ = tool.stdin.take().unwrap().write_all(input.as_bytes());
    tool.wait_with_output().unwrap()
}

/// Of the tools of this machine, wherever the broker runs.
fn class_path() -> OsString {
    let path = || tokio::runtime::Runtime::new().unwrap().block_on(prepare::kafka_class_path());
    std::thread::spawn(path).join().unwrap().unwrap()
}
