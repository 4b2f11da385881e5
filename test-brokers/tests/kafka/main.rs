//! Kafka, with real brokers.
#![allow(clippy::unwrap_used)]

#[path = "../support/until.rs"]
mod until;

mod cluster;
mod security;
mod tool;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use test_brokers::{Kafka, prepare};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use tool::tool;
use until::{listens, runs, until};

fn produce(kafka: &Kafka, value: &str) {
    let arguments = ["--topic", "kept"];
    tool(kafka, "org.apache.kafka.tools.ConsoleProducer", &arguments, value);
}

/// The values of the first `count` messages.
fn consume(kafka: &Kafka, count: usize) -> Vec<String> {
    let count = count.to_string();
    let arguments =
        ["--topic", "kept", "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    tool(kafka, class, &arguments, "").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn keeps_messages_whatever_happens_to_it() {
    let kafka = Kafka::start().await.unwrap();
    let (port, first) = (kafka.port(), kafka.pid().unwrap());
    assert_eq!(kafka.version(), prepare::KAFKA_VERSION);
    assert_eq!(kafka.url(), format!("kafka://{}", kafka.bootstrap()));
    produce(&kafka, "one\n");

    kafka.kill();
    assert!(!runs(first) && !listens(port));
    assert!(kafka.pause().unwrap_err().to_string().contains("is not running"));
    kafka.restart().await.unwrap();
    assert_eq!(kafka.port(), port);
    produce(&kafka, "two\n");

    // Paused, then stopped in order.
    kafka.pause().unwrap();
    kafka.restart().await.unwrap();
    assert_eq!(consume(&kafka, 2), ["one", "two"]);

    kafka.stop().await.unwrap();
    assert!(!listens(port));
    let directory = kafka.directory().to_owned();
    drop(kafka);
    assert!(!directory.exists());
}

/// ApiVersions, version 0, with the number 7.
const VERSIONS: &[u8] = b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff";

#[tokio::test]
async fn a_paused_broker_keeps_connections_and_answers_when_resumed() {
    let kafka = Kafka::start().await.unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", kafka.port())).await.unwrap();

    kafka.pause().unwrap();
    connection.write_all(VERSIONS).await.unwrap();
    let mut byte = [0];
    let silent = tokio::time::timeout(Duration::from_millis(300), connection.peek(&mut byte));
    assert!(silent.await.is_err());

    kafka.resume().unwrap();
    let _length = connection.read_u32().await.unwrap();
    assert_eq!(connection.read_u32().await.unwrap(), 7);
}

#[tokio::test]
async fn a_broker_that_cannot_start_says_why() {
    let failed = Kafka::builder().config("process.roles=none").start().await;
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("process.roles"), "{error}");
}

fn with(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-brokers"));
    command
        .arg("with")
        .args(arguments)
        .env("EVENTBUS_TEST_BROKERS", "native")
        .stdout(Stdio::piped());
    command
}

#[test]
fn the_command_gets_both_urls_and_the_tools() {
    let script = "env | grep ^EVENTBUS_[NKP]; exec java -cp \"$EVENTBUS_PEER_KAFKA_CP\" \
        org.apache.kafka.tools.ProducerPerformance \
        --producer-props bootstrap.servers=${EVENTBUS_KAFKA_URL#kafka://} \
        --topic performance --num-records 50 --record-size 256 --throughput -1";
    let output = with(&["kafka", "--peers", "--", "sh", "-c", script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("EVENTBUS_KAFKA_URL=kafka://127.0.0.1:"), "{said}");
    assert!(said.contains("50 records sent"), "{said}");
    assert!(!said.contains("EVENTBUS_NATS_URL"), "only what was asked for: {said}");
}

#[test]
#[ignore = "builds the `nats` command, which takes more than a minute the first time"]
fn the_command_gets_both_brokers_and_all_tools() {
    let script = "$EVENTBUS_PEER_NATS_CLI --server $EVENTBUS_NATS_URL server check connection && \
        env | grep ^EVENTBUS_[NKP]";
    let output = with(&["nats", "kafka", "--peers", "--", "sh", "-c", script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for variable in ["NATS_URL", "KAFKA_URL", "PEER_NATS_CLI", "PEER_KAFKA_CP"] {
        assert!(said.contains(&format!("EVENTBUS_{variable}=")), "{said}");
    }
}

#[test]
fn the_broker_goes_away_when_the_program_is_killed() {
    let script = "echo $EVENTBUS_KAFKA_URL; exec cat";
    let mut program =
        with(&["kafka", "--", "sh", "-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let port = url.trim().rsplit(':').next().unwrap().parse().unwrap();
    assert!(listens(port));

    kill_process(Pid::from_child(&program), Signal::KILL).unwrap();
    program.wait().unwrap();
    until("the broker is gone", || !listens(port));
}
