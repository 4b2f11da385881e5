//! Raw topics and a program that knows nothing of envelopes: the `nats` command.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use data_encoding::BASE64;
use eventbus_core::{
    Envelope, EventBus, EventBusExt, OCTET_STREAM, ReceiveError, SubscribeOptions, Topic,
    UndecodablePolicy,
};
use serde_json::Value;
use test_brokers::{Nats, prepare};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

use crate::steps::{PATIENCE, api, connect, next, raw, until};

const RAW: Topic = Topic::from_static("legacy.orders");
const SUBJECT: &str = "eb.legacy.orders";

async fn raw_bus(server: &Nats, parameters: &str) -> Arc<dyn EventBus> {
    connect(&format!("{}?raw=legacy.>{parameters}", server.url())).await.unwrap()
}

/// Runs the `nats` command to its end. Gives what it printed.
async fn nats(server: &Nats, arguments: &[&str]) -> String {
    let program = prepare::nats_cli().await.expect("the `nats` command");
    // Of its own, so that no context of the user is taken.
    let home = tempfile::tempdir().unwrap();
    let child = Command::new(program)
        .args(["--server", server.url()])
        .args(arguments)
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, child).await.expect("`nats` ends").unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nats {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

async fn nats_pub(server: &Nats, headers: &[&str], body: &str) {
    let mut arguments = vec!["pub", "--jetstream", "--no-templates", SUBJECT, body];
    headers.iter().for_each(|header| arguments.extend(["--header", header]));
    nats(server, &arguments).await;
}

/// The header lines and the body of a stored message, as the `nats` command tells them.
async fn nats_get(server: &Nats, sequence: u64) -> (Vec<String>, Vec<u8>) {
    let sequence = sequence.to_string();
    let printed = nats(server, &["stream", "get", "EVENTBUS", &sequence, "--json"]).await;
    let message: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(message["subject"], SUBJECT);
    let bytes = |field: &str| {
        let text = message[field].as_str().unwrap_or_default();
        BASE64.decode(text.as_bytes()).unwrap()
    };
    let headers = String::from_utf8(bytes("hdrs")).unwrap();
    let mut lines: Vec<_> = headers.split_terminator("\r\n").map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "NATS/1.0");
    assert_eq!(lines.pop().as_deref(), Some(""));
    lines.sort_unstable();
    (lines, bytes("data"))
}

#[tokio::test]
async fn what_the_nats_command_writes_is_read() {
    let server = Nats::start().await.unwrap();
    let bus = raw_bus(&server, "").await;
    let mut subscription =
        bus.subscribe(&RAW.filter(), SubscribeOptions::group("g")).await.unwrap();
    let headers = [
        "eb-key:key with \"quotes\", ütf-8: ✓",
        "EB-Type:order.created",
        "Content-Type:application/json",
        "X-Colons:a:b::c",
        "X-Empty:",
        "X-Twice:1",
        "X-Twice:2",
        "CASE:upper",
        "case:lower",
        "x-backslash:{a}\\r\\n",
        "x-unicode:значение 🚌",
    ];
    nats_pub(&server, &headers, "{\"id\": 42}").await;
    nats_pub(&server, &[], "").await;
    let first = next(&mut subscription).await;
    let envelope = first.envelope();
    assert_eq!(envelope.payload().as_ref(), b"{\"id\": 42}");
    assert_eq!(envelope.aggregate_id(), Some("key with \"quotes\", ütf-8: ✓"));
    assert_eq!(envelope.event_type(), "order.created");
    assert_eq!(envelope.content_type(), "application/json");
    assert_eq!(
        envelope.headers().iter().collect::<Vec<_>>(),
        [
            ("CASE", "upper"),
            ("X-Colons", "a:b::c"),
            ("X-Empty", ""),
            ("X-Twice", "2"),
            ("case", "lower"),
            ("x-backslash", "{a}\\r\\n"),
            ("x-unicode", "значение 🚌"),
        ]
    );
    let second = next(&mut subscription).await;
    let bare = second.envelope();
    assert!(bare.payload().is_empty() && bare.headers().is_empty(), "{bare:?}");
    assert_eq!((bare.aggregate_id(), bare.event_type()), (None, RAW.as_str()));
    assert_eq!(bare.content_type(), OCTET_STREAM);
    assert_ne!(bare.id(), envelope.id());
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_is_written_the_nats_command_reads() {
    let server = Nats::start().await.unwrap();
    let bus = raw_bus(&server, "&raw_key_header=Order-Id").await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let full = Envelope::new("order.created", every_byte.clone())
        .key("key: with \"quotes\", ütf-8 ✓")
        .with_timestamp(SystemTime::UNIX_EPOCH)
        .with_source("shop: 1")
        .with_content_type("application/json")
        .with_header("CASE", "upper")
        .with_header("case", "lower")
        .with_header("x-empty", "")
        .with_header("x-tabs", "a\tb: c")
        .with_header("x-unicode", "значение 🚌");
    let bare = Envelope::new(&RAW, "").with_timestamp(SystemTime::UNIX_EPOCH);
    let (full_id, bare_id) = (full.id(), bare.id());
    bus.publish_sync(&RAW, full).await.unwrap();
    bus.publish_sync(&RAW, bare).await.unwrap();
    let (headers, body) = nats_get(&server, 1).await;
    assert_eq!(body, every_byte);
    let mut expected = vec![
        "CASE: upper".to_owned(),
        "Order-Id: key: with \"quotes\", ütf-8 ✓".to_owned(),
        "case: lower".to_owned(),
        "content-type: application/json".to_owned(),
        format!("eb-id: {full_id}"),
        "eb-source: shop: 1".to_owned(),
        "eb-time: 1970-01-01T00:00:00.000000Z".to_owned(),
        "eb-type: order.created".to_owned(),
        "x-empty: ".to_owned(),
        "x-tabs: a\tb: c".to_owned(),
        "x-unicode: значение 🚌".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(headers, expected);
    let (headers, body) = nats_get(&server, 2).await;
    assert!(body.is_empty());
    let time = "eb-time: 1970-01-01T00:00:00.000000Z".to_owned();
    assert_eq!(headers, [format!("eb-id: {bare_id}"), time]);
    bus.close().await.unwrap();
}

/// Publishes what no client library would: `lines` as the header block, as they are.
async fn publish_bytes(server: &Nats, lines: &[u8], body: &[u8]) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let headers = [b"NATS/1.0\r\n", lines, b"\r\n\r\n"].concat();
    let total = headers.len() + body.len();
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    let mut said = format!("{connect}HPUB {SUBJECT} {} {total}\r\n", headers.len()).into_bytes();
    said.extend([&headers, body, b"\r\nPING\r\n"].concat());
    socket.write_all(&said).await.unwrap();
    let mut answers = BufReader::new(socket).lines();
    let mut answered = false;
    while !answered {
        let line = tokio::time::timeout(PATIENCE, answers.next_line());
        let line = line.await.expect("an answer").unwrap().expect("an answer");
        assert!(!line.starts_with("-ERR"), "{line}");
        answered = line == "PONG";
    }
}

#[tokio::test]
async fn headers_that_the_client_cannot_read_stop_nothing() {
    let server = Nats::start().await.unwrap();
    let bus = raw_bus(&server, "").await;
    bus.ensure_topic(&RAW).await.unwrap();
    nats_pub(&server, &[], "before").await;
    publish_bytes(&server, b"eb-key: 7\r\nX-Latin: caf\xe9", b"no text").await;
    nats_pub(&server, &[], "between").await;
    publish_bytes(&server, b"no colon", b"no header").await;
    nats_pub(&server, &[], "after").await;
    let options = SubscribeOptions::native_group("g")
        .ack_wait(Duration::from_secs(1))
        .undecodable(UndecodablePolicy::Yield);
    let mut subscription = bus.subscribe(&RAW.filter(), options).await.unwrap();
    let (mut read, mut unreadable) = (BTreeSet::new(), BTreeMap::new());
    let mut nacked_came_again = false;
    while read.len() < 3 || unreadable.len() < 2 || !nacked_came_again {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match next.expect("it goes on").expect("it goes on") {
            Ok(delivery) => {
                read.insert(delivery.envelope().payload().clone());
                delivery.ack().await.unwrap();
            }
            Err(ReceiveError::Undecodable(message)) => {
                let key = message.key().cloned();
                let again = unreadable.insert(message.bytes().clone(), key.clone());
                // It comes again, although the server's way to send it again is the same.
                match (key, again) {
                    (Some(_), None) => message.nack(Duration::ZERO).await.unwrap(),
                    (Some(_), Some(_)) => {
                        nacked_came_again |= message.info().attempt == 2;
                        message.ack().await.unwrap();
                    }
                    (None, _) => message.ack().await.unwrap(),
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(read.iter().eq(["after", "before", "between"]), "{read:?}");
    let keys = [("no header", None), ("no text", Some("7"))];
    let keys = keys.map(|(body, key)| (Bytes::from(body), key.map(Bytes::from)));
    assert!(unreadable.iter().eq(keys.iter().map(|(body, key)| (body, key))), "{unreadable:?}");
    let client = raw(&server).await;
    let settled = async || {
        let info = api(&client, "CONSUMER.INFO.EVENTBUS.g", &Value::Null).await;
        info["ack_floor"]["stream_seq"] == 5
    };
    until("all are settled", settled).await;
    bus.close().await.unwrap();
}
