//! No secret in any log, error or `Debug` text.
//!
//! Alone in its program: whether a line is logged is decided once for all threads, so that
//! another test without a log could turn it off.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::sync::Arc;

use eventbus_core::{Envelope, EventBusExt, Registry, SubscribeOptions, Topic};
use eventbus_kafka::KafkaBus;
use test_brokers::{Kafka, Tls};

const TOPIC: Topic = Topic::from_static("orders.created");

/// Uses a bus, or is refused, with all that librdkafka can log; gives all that can be shown
/// about it.
async fn show(url: &str) -> String {
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    let url = format!("{url}&rdkafka.debug=all&connect_timeout=2s");
    let bus = match registry.builder(&url).connect().await {
        Ok(bus) => bus,
        Err(error) => return format!("{error} {error:?}\n"),
    };
    let mut shown = String::new();
    bus.publish_sync(&TOPIC, Envelope::new("test", "1")).await.unwrap();
    bus.subscribe(&TOPIC.filter(), SubscribeOptions::group("g")).await.unwrap();
    let kafka = bus.as_any().downcast_ref::<KafkaBus>().unwrap();
    let transport = kafka.transport();
    shown += &format!("{kafka:?} {transport:?} {:?} ", transport.config());
    shown += &format!("{:?}\n", bus.health().await);
    bus.close().await.unwrap();
    shown
}

/// A URL's way to write the text of a file.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace('\n', "%0A").replace(' ', "%20")
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let users = Kafka::builder()
        .plain([("alice", "s3cretPlain")])
        .scram([("bob", "s3cretScram")])
        .start()
        .await
        .unwrap();
    let at = users.bootstrap();
    let mut shown = String::new();
    for (login, sasl) in [
        ("alice:s3cretPlain", "plain"),
        ("alice:wr0ngPlain", "plain"),
        ("bob:s3cretScram", "scram-sha-512"),
        ("bob:wr0ngScram", "scram-sha-512"),
        ("bob:s3cretScram", "scram-sha-256"),
    ] {
        shown += &show(&format!("kafka://{login}@{at}?sasl={sasl}")).await;
        // Another way to say the same.
        let (_, password) = login.split_once(':').unwrap();
        let property = format!("&rdkafka.sasl.password={password}");
        shown += &show(&format!("kafka://u:0therPassw0rd@{at}?sasl={sasl}{property}")).await;
    }
    let mutual = Kafka::builder().tls(Tls::Mutual).start().await.unwrap();
    let known = mutual.certificates().unwrap();
    let key = std::fs::read_to_string(&known.client.key).unwrap();
    let base = format!("{}?tls=true&tls_ca={}", mutual.url(), known.ca.display());
    let certificate = known.client.certificate.display();
    for parameters in [
        format!("tls_cert={certificate}&tls_key={}", known.client.key.display()),
        format!("tls_cert={certificate}&tls_key={}", known.other.key.display()),
        format!("tls_cert={0}&tls_key={0}&tls_key_password=s3cretKey", known.client.key.display()),
        // The key itself where its path belongs, and where its text belongs.
        format!("tls_cert={certificate}&tls_key={}", encoded(&key)),
        format!(
            "rdkafka.ssl.certificate.location={certificate}&rdkafka.ssl.key.pem={}",
            encoded(&key)
        ),
        "rdkafka.security.protocol=s3cretPlain&tls_key_password=s3cretKey".to_owned(),
    ] {
        shown += &show(&format!("{base}&{parameters}")).await;
    }

    shown += &String::from_utf8_lossy(&std::fs::read(log.path()).unwrap());
    assert!(shown.contains("apiversion") || shown.contains("ApiVersion"), "no debug log came");
    let mut secrets: Vec<String> =
        ["s3cretPlain", "wr0ngPlain", "s3cretScram", "wr0ngScram", "0therPassw0rd", "s3cretKey"]
            .map(str::to_owned)
            .into();
    secrets.extend(key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
    for secret in secrets {
        let at = shown.find(&secret).map(|at| shown[at.saturating_sub(200)..at].to_owned());
        assert_eq!(at, None, "{secret} was shown");
    }
}
