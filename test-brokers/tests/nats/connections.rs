//! Toxiproxy between a client and a server.

use std::time::{Duration, Instant};

use test_brokers::{Nats, Toxiproxy};

use crate::client::Client;
use crate::until::listens;

const MOMENT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn connections_are_broken_as_asked_and_healed() {
    let (nats, toxiproxy) = (Nats::start().await.unwrap(), Toxiproxy::start().await.unwrap());
    let proxy = toxiproxy.proxy(nats.port()).await.unwrap();
    let mut client = Client::connect(proxy.port()).await.unwrap();
    client.ping().await.unwrap();

    proxy.latency(Duration::from_millis(50), Duration::ZERO).await.unwrap();
    proxy.latency(Duration::from_millis(100), Duration::ZERO).await.unwrap();
    let started = Instant::now();
    client.ping().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
    proxy.heal().await.unwrap();
    client.ping().await.unwrap();

    proxy.bandwidth(100).await.unwrap();
    let started = Instant::now();
    client.publish("a", &"x".repeat(40 << 10)).await.unwrap();
    assert!(started.elapsed() >= MOMENT, "{:?}", started.elapsed());
    proxy.heal().await.unwrap();

    // Half-open: nothing comes, not even the end.
    proxy.timeout().await.unwrap();
    assert!(tokio::time::timeout(MOMENT, client.ping()).await.is_err());
    assert!(listens(proxy.port()));
    proxy.heal().await.unwrap();
    assert!(client.ping().await.is_err(), "a connection with a hole is closed");

    let mut client = Client::connect(proxy.port()).await.unwrap();
    proxy.reset_peer(Duration::ZERO).await.unwrap();
    assert!(client.ping().await.is_err());
    proxy.heal().await.unwrap();

    let mut client = Client::connect(proxy.port()).await.unwrap();
    proxy.cut().await.unwrap();
    assert!(client.ping().await.is_err());
    assert!(!listens(proxy.port()));
    proxy.heal().await.unwrap();
    Client::connect(proxy.port()).await.unwrap().ping().await.unwrap();

    drop(toxiproxy);
    assert!(!listens(proxy.port()));
    let error = proxy.cut().await.unwrap_err().to_string();
    assert!(error.starts_with("toxiproxy: POST /proxies/"), "{error}");
}
