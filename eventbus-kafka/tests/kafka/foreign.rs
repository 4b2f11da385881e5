//! Raw topics and programs that know nothing of envelopes: the console tools of Kafka.

use std::{process::Stdio, sync::Arc, time::SystemTime};

use eventbus_core::{
    Envelope, EventBus, EventBusExt, OCTET_STREAM, SubscribeOptions, Subscription, Topic,
};
use test_brokers::prepare;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::cluster::{PATIENCE, bus, next, topic, url};

/// What no key, header or body here has, so that what is printed can be taken apart.
const FIELD: char = '\u{1}';
const HEADER: char = '\u{2}';
const NULL: &str = "\u{3}";
const RECORD: char = '\u{4}';

async fn raw_bus() -> Arc<dyn EventBus> {
    bus("partitions=1&raw=>").await
}

/// Runs one of Kafka's tools, given its input. Gives what it printed.
async fn kafka(class: &str, arguments: &[&str], input: &str) -> String {
    let class_path = prepare::kafka_class_path().await.expect("the tools of Kafka");
    let mut child = Command::new("java")
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"])
        .arg(class_path)
        .arg(format!("org.apache.kafka.tools.{class}"))
        .args(["--bootstrap-server", url().trim_start_matches("kafka://")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("java");
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, child.wait_with_output());
    let output = end.await.expect("the tool ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn properties(properties: &[(&str, &str)]) -> Vec<String> {
    properties
        .iter()
        .flat_map(|(name, value)| ["--property".to_owned(), format!("{name}={value}")])
        .collect()
}

/// Each line: the headers, the key and the body.
async fn produce(topic: &Topic, lines: &[[&str; 3]]) {
    let mut arguments = properties(&[
        ("parse.key", "true"),
        ("parse.headers", "true"),
        ("key.separator", &FIELD.to_string()),
        ("headers.delimiter", &FIELD.to_string()),
        ("headers.separator", &HEADER.to_string()),
        ("null.marker", NULL),
    ]);
    arguments.extend(["--topic", topic.as_str(), "--sync"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let lines: Vec<_> = lines.iter().map(|line| line.join(&FIELD.to_string())).collect();
    kafka("ConsoleProducer", &arguments, &format!("{}\n", lines.join("\n"))).await;
}

/// The first records of a topic, each as its headers, its key and its body.
async fn consume(topic: &Topic, count: usize) -> Vec<(Vec<String>, String, String)> {
    let mut arguments = properties(&[
        ("print.key", "true"),
        ("print.headers", "true"),
        ("key.separator", &FIELD.to_string()),
        ("headers.separator", &HEADER.to_string()),
        ("line.separator", &RECORD.to_string()),
        ("null.literal", NULL),
    ]);
    let count = count.to_string();
    let rest = ["--topic", topic.as_str(), "--from-beginning", "--max-messages", &count];
    arguments.extend(rest.map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let printed = kafka("consumer.ConsoleConsumer", &arguments, "").await;
    let records = printed.split_terminator(RECORD);
    records
        .map(|record| {
            let fields: Vec<_> = record.splitn(3, FIELD).map(str::to_owned).collect();
            let [headers, key, body] = fields.try_into().expect("three fields");
            (headers.split(HEADER).map(str::to_owned).collect(), key, body)
        })
        .collect()
}

async fn take(subscription: &mut Subscription) -> Envelope {
    let delivery = next(subscription).await;
    let envelope = delivery.envelope().clone();
    delivery.ack().await.unwrap();
    envelope
}

#[tokio::test]
async fn what_the_console_producer_writes_is_read() {
    let bus = raw_bus().await;
    let topic = topic("written.by.others");
    bus.ensure_topic(&topic).await.unwrap();
    let full = "EB-Type:order.created\u{2}content-type:application/json\u{2}colons:a:b::c\
                \u{2}empty:\u{2}twice:1\u{2}twice:2\u{2}CASE:upper\u{2}case: lower \
                \u{2}unicode:значение 🚌\u{2}null:\u{3}";
    produce(
        &topic,
        &[
            [full, "key: with \"quotes\",\tütf-8 ✓ ", "{\"id\": 42}"],
            [NULL, NULL, ""],
            [NULL, "", NULL],
        ],
    )
    .await;
    let options = SubscribeOptions::group("g");
    let mut subscription = bus.subscribe(&topic.filter(), options).await.unwrap();
    let envelope = take(&mut subscription).await;
    assert_eq!(envelope.payload().as_ref(), b"{\"id\": 42}");
    assert_eq!(envelope.aggregate_id(), Some("key: with \"quotes\",\tütf-8 ✓ "));
    assert_eq!(envelope.event_type(), "order.created");
    assert_eq!(envelope.content_type(), "application/json");
    let expected = [
        ("colons", "a:b::c"),
        ("empty", ""),
        ("twice", "2"),
        ("CASE", "upper"),
        ("case", " lower "),
        ("unicode", "значение 🚌"),
        ("null", ""),
    ];
    assert_eq!(envelope.headers().iter().collect::<Vec<_>>(), expected);
    for key in [None, Some("")] {
        let bare = take(&mut subscription).await;
        assert_eq!(bare.aggregate_id(), key);
        assert!(bare.payload().is_empty() && bare.headers().is_empty(), "{bare:?}");
        assert_eq!((bare.event_type(), bare.content_type()), (topic.as_str(), OCTET_STREAM));
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_is_written_the_console_consumer_reads() {
    let bus = raw_bus().await;
    let topic = topic("read.by.others");
    let full = Envelope::new("order.created", "two\r\nlines ✓")
        .key("key: with \"quotes\",\tütf-8 ✓ ")
        .with_timestamp(SystemTime::UNIX_EPOCH)
        .with_source("shop: 1")
        .with_content_type("application/json")
        .with_header("CASE", "upper")
        .with_header("case", " lower ")
        .with_header("", "no name")
        .with_header("empty", "")
        .with_header("a:b ü", "значение 🚌\r\nX-Forged: 1");
    let bare = Envelope::new(&topic, "").with_timestamp(SystemTime::UNIX_EPOCH);
    let (full_id, bare_id) = (full.id(), bare.id());
    bus.publish_sync(&topic, full).await.unwrap();
    bus.publish_sync(&topic, bare).await.unwrap();
    bus.close().await.unwrap();
    let time = "eb-time:1970-01-01T00:00:00.000000Z".to_owned();
    let headers = vec![
        format!("eb-id:{full_id}"),
        "eb-type:order.created".to_owned(),
        "eb-source:shop: 1".to_owned(),
        time.clone(),
        "content-type:application/json".to_owned(),
        "CASE:upper".to_owned(),
        "case: lower ".to_owned(),
        ":no name".to_owned(),
        "empty:".to_owned(),
        "a:b ü:значение 🚌\r\nX-Forged: 1".to_owned(),
    ];
    let key = "key: with \"quotes\",\tütf-8 ✓ ".to_owned();
    let read = consume(&topic, 2).await;
    assert_eq!(read[0], (headers, key, "two\r\nlines ✓".to_owned()));
    assert_eq!(read[1], (vec![format!("eb-id:{bare_id}"), time], NULL.to_owned(), String::new()));
}
