//! Raw topics and a program that knows nothing of envelopes: the `nats` command.

use std::{process::Stdio, sync::Arc, time::SystemTime};

use data_encoding::BASE64;
use eventbus_core::{Envelope, EventBus, EventBusExt, OCTET_STREAM, SubscribeOptions, Topic};
use serde_json::Value;
use test_brokers::{Nats, prepare};
use tokio::process::Command;

use crate::steps::{PATIENCE, connect, next};

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
