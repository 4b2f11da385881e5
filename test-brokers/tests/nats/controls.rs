use std::time::Duration;

use test_brokers::{Nats, prepare};

use crate::client::Client;
use crate::until::{listens, runs};

#[tokio::test]
async fn starts_and_stops() {
    let nats = Nats::start().await.unwrap();
    assert_eq!(nats.version(), prepare::NATS_SERVER_VERSION);
    assert_eq!(nats.url(), format!("nats://127.0.0.1:{}", nats.port()));
    Client::connect(nats.port()).await.unwrap();

    nats.stop().await.unwrap();
    assert_eq!(nats.pid(), None);
    assert!(!listens(nats.port()));
    nats.stop().await.unwrap();

    let directory = nats.directory().to_owned();
    drop(nats);
    assert!(!directory.exists());
}

#[tokio::test]
async fn restarts_on_the_same_port_and_store_from_any_state() {
    let nats = Nats::start().await.unwrap();
    let port = nats.port();
    let mut client = Client::connect(port).await.unwrap();
    client.create_stream("KEPT", 1).await;
    let answer = client.request("KEPT.a", "acknowledged").await.unwrap();
    assert_eq!(answer["seq"], 1);

    let mut pids = vec![nats.pid()];
    for state in ["killed", "stopped", "paused", "running"] {
        match state {
            "killed" => nats.kill(),
            "stopped" => nats.stop().await.unwrap(),
            "paused" => nats.pause().unwrap(),
            _ => {}
        }
        nats.restart().await.unwrap();
        assert_eq!(nats.port(), port, "{state}");
        let mut client = Client::connect(port).await.unwrap();
        assert_eq!(client.messages("KEPT").await, 1, "{state}");
        pids.push(nats.pid());
    }
    pids.dedup();
    assert_eq!(pids.len(), 5, "a new process each time: {pids:?}");
}

#[tokio::test]
async fn a_paused_server_keeps_connections_and_answers_when_resumed() {
    let nats = Nats::start().await.unwrap();
    let mut client = Client::connect(nats.port()).await.unwrap();

    nats.pause().unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(300), client.ping()).await;
    assert!(silent.is_err(), "{silent:?}");

    nats.resume().unwrap();
    // The answer to the ping above counts as well: what matters is the connection.
    client.ping().await.unwrap();
}

#[tokio::test]
async fn two_servers_at_once_share_nothing() {
    let (one, two) = tokio::join!(Nats::start(), Nats::start());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.port(), two.port());
    assert_ne!(one.directory(), two.directory());

    one.kill();
    Client::connect(two.port()).await.unwrap();
}

#[tokio::test]
async fn a_store_of_the_callers_outlives_the_server() {
    let first = Nats::start().await.unwrap();
    let store = first.directory().join("mine");
    let nats = Nats::builder().jetstream_dir(&store).start().await.unwrap();
    let mut client = Client::connect(nats.port()).await.unwrap();
    client.create_stream("MINE", 1).await;
    client.request("MINE.a", "x").await.unwrap();
    nats.stop().await.unwrap();
    drop(nats);

    let nats = Nats::builder().jetstream_dir(&store).start().await.unwrap();
    let mut client = Client::connect(nats.port()).await.unwrap();
    assert_eq!(client.messages("MINE").await, 1);
}

#[tokio::test]
async fn without_jetstream_it_is_core_nats_only() {
    let nats = Nats::builder().without_jetstream().start().await.unwrap();
    let mut client = Client::connect(nats.port()).await.unwrap();
    let error = client.request("$JS.API.INFO", "").await.unwrap_err();
    assert_eq!(error.to_string(), "nobody answers");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let failed = Nats::builder().config("no_such_option: 1").start().await;
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("no_such_option"), "{error}");
}

#[tokio::test]
async fn controls_of_a_server_that_is_down_say_so() {
    let nats = Nats::start().await.unwrap();
    let pid = nats.pid().unwrap();
    nats.kill();
    assert!(!runs(pid));
    let error = nats.pause().unwrap_err().to_string();
    assert!(error.contains("is not running"), "{error}");
    nats.kill();
}
