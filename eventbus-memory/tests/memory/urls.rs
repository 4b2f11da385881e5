//! URLs: names, parameters, lifetimes of brokers.

use eventbus_core::{ErrorKind, SubscribeOptions, Topic};
use eventbus_memory::{MemoryBus, testing::Probe};

use crate::support::{connect, publish, subscribe, take, try_connect};

const TOPIC: Topic = Topic::from_static("urls.one");

#[tokio::test]
async fn a_name_is_one_broker_and_no_name_is_a_broker_of_its_own() {
    let (one, two) = (connect("memory://urls-one").await, connect("memory://urls-one").await);
    let other = connect("memory://urls-two").await;
    let private = connect("memory://").await;
    let mut reader = subscribe(&two, "urls.one", SubscribeOptions::new()).await;
    publish(&one, &TOPIC, 1).await;
    assert_eq!(take(&mut reader, 1).await, [1]);
    for bus in [other, private] {
        Probe::of(&*bus).unwrap().assert_published(&TOPIC, 0);
    }
}

#[tokio::test]
async fn a_broker_lives_as_long_as_somebody_holds_it() {
    let bus = connect("memory://urls-life").await;
    publish(&bus, &TOPIC, 1).await;
    bus.close().await.unwrap();
    let probe = Probe::of(&*bus).unwrap();
    drop(bus);
    let again = connect("memory://urls-life").await;
    Probe::of(&*again).unwrap().assert_published(&TOPIC, 1);
    drop((probe, again));
    let fresh = connect("memory://urls-life?retention_bytes=5").await;
    Probe::of(&*fresh).unwrap().assert_published(&TOPIC, 0);
}

#[tokio::test]
async fn parameters_of_a_running_broker_cannot_change() {
    let first = connect("memory://urls-same?retention_bytes=5000&duplicate_window=9s").await;
    connect("memory://urls-same").await;
    connect("memory://urls-same?retention_bytes=5000&duplicate_window=9s").await;
    for (url, parameter) in [
        ("memory://urls-same?retention_bytes=5001", "retention_bytes"),
        ("memory://urls-same?duplicate_window=8s", "duplicate_window"),
    ] {
        let error = try_connect(url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(parameter), "{error}");
    }
    let transport = first.as_any().downcast_ref::<MemoryBus>().unwrap().transport();
    assert_eq!(transport.config().retention_bytes, 5000);
    assert_eq!(transport.config().duplicate_window.as_secs(), 9);
}

#[tokio::test]
async fn bad_urls_say_what_is_wrong() {
    for (url, expected) in [
        ("memory://?retention_bytes=0", "retention_bytes"),
        ("memory://?retention_bytes=much", "retention_bytes"),
        ("memory://?duplicate_window=5", "duplicate_window"),
        ("memory://?retention=5", "retention_bytes, duplicate_window"),
        ("memory://?max_in_flight=0", "max_in_flight"),
        ("memory://name/path", "memory://NAME"),
        ("memory://user:secret@name", "memory://NAME"),
    ] {
        let error = try_connect(url).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
        assert!(error.to_string().contains(expected), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
