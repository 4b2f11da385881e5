//! Who may connect, on real brokers that ask for TLS, certificates and passwords.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{sync::Arc, time::Duration};

use eventbus_core::{
    Envelope, Error, ErrorKind, EventBus, EventBusExt, Registry, SubscribeOptions, Topic,
};
use test_brokers::{Identity, Kafka, Tls};

const TOPIC: Topic = Topic::from_static("orders.created");
/// What connecting may take at most: `connect_timeout` and a second for the last question.
const DEADLINE: Duration = Duration::from_secs(15);

async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    let connecting = registry.builder(url).connect();
    tokio::time::timeout(DEADLINE, connecting).await.expect("connecting hangs")
}

/// Publishes and reads: three kinds of clients.
async fn works(url: &str) {
    let bus = connect(url).await.unwrap();
    let options = SubscribeOptions::group("security");
    let mut subscription = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    bus.publish_sync(&TOPIC, Envelope::new("test", "1")).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(60), subscription.try_next());
    next.await.expect("nothing came").unwrap().unwrap().ack().await.unwrap();
    bus.close().await.unwrap();
}

/// Checks the kind, and that the message says what to do.
async fn refused(url: &str, kind: ErrorKind, said: &str) {
    let Err(error) = connect(url).await else { panic!("it was let in: {url}") };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(said), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

fn shows(identity: &Identity) -> String {
    let Identity { certificate, key, .. } = identity;
    format!("&tls_cert={}&tls_key={}", certificate.display(), key.display())
}

#[tokio::test]
async fn a_broker_with_tls() {
    let broker = Kafka::builder().tls(Tls::Server).start().await.unwrap();
    let known = broker.certificates().unwrap();
    let trusting = format!("{}?tls=true&tls_ca={}", broker.url(), known.ca.display());
    works(&trusting).await;
    let other = format!("{}?tls=true&tls_ca={}", broker.url(), known.other_ca.display());
    refused(&other, ErrorKind::Unavailable, "set `tls_ca`").await;
    let of_the_system = format!("{}?tls=true", broker.url());
    refused(&of_the_system, ErrorKind::Unavailable, "set `tls_ca`").await;
    refused(broker.url(), ErrorKind::Unavailable, "set `tls=true`").await;
    let nowhere = format!("{}?tls=true&tls_ca=/nowhere", broker.url());
    refused(&nowhere, ErrorKind::InvalidConfig, "must be there").await;
    let with_user = trusting.replace("kafka://", "kafka://alice:hunter2plain@");
    refused(&with_user, ErrorKind::Unauthorized, "leave out the user").await;
}

#[tokio::test]
async fn a_broker_that_wants_a_certificate() {
    let broker = Kafka::builder().tls(Tls::Mutual).start().await.unwrap();
    let known = broker.certificates().unwrap();
    let trusting = format!("{}?tls=true&tls_ca={}", broker.url(), known.ca.display());
    works(&format!("{trusting}{}", shows(&known.client))).await;
    refused(&trusting, ErrorKind::Unauthorized, "set `tls_cert`").await;
    for identity in [&known.other, &known.expired] {
        let url = format!("{trusting}{}", shows(identity));
        refused(&url, ErrorKind::Unauthorized, "set `tls_cert`").await;
    }
    let mixed = Identity::clone(&known.client);
    let (certificate, key) = (mixed.certificate.display(), known.other.key.display());
    let url = format!("{trusting}&tls_cert={certificate}&tls_key={key}");
    refused(&url, ErrorKind::InvalidConfig, "those of the certificate").await;
}

#[tokio::test]
async fn a_broker_that_nobody_should_trust() {
    for shown in [Tls::Expired, Tls::OtherCa] {
        let broker = Kafka::builder().tls(shown).start().await.unwrap();
        let ca = broker.certificates().unwrap().ca.display();
        let url = format!("{}?tls=true&tls_ca={ca}", broker.url());
        refused(&url, ErrorKind::Unavailable, "dates and host names").await;
    }
}

#[tokio::test]
async fn users_and_passwords() {
    let broker = Kafka::builder()
        .plain([("alice", "hunter2plain")])
        .scram([("bob", "hunter2scram")])
        .start()
        .await
        .unwrap();
    let at = broker.bootstrap();
    works(&format!("kafka://alice:hunter2plain@{at}")).await;
    works(&format!("kafka://{at}?user=alice&password=hunter2plain&sasl=plain")).await;
    works(&format!("kafka://bob:hunter2scram@{at}?sasl=scram-sha-512")).await;
    for (login, sasl) in [
        ("alice:hunter2wrong", "plain"),
        ("carol:hunter2plain", "plain"),
        // Known to the other mechanism.
        ("bob:hunter2scram", "plain"),
        ("bob:hunter2wrong", "scram-sha-512"),
        ("carol:hunter2scram", "scram-sha-512"),
    ] {
        let url = format!("kafka://{login}@{at}?sasl={sasl}");
        refused(&url, ErrorKind::Unauthorized, "check `user`, `password`").await;
    }
    let url = format!("kafka://bob:hunter2scram@{at}?sasl=scram-sha-256");
    refused(&url, ErrorKind::Unauthorized, "set `sasl`").await;
    refused(broker.url(), ErrorKind::Unavailable, "set `user`").await;
    let url = format!("{}?tls=true", broker.url());
    refused(&url, ErrorKind::Unavailable, "does not speak TLS").await;
}

#[tokio::test]
async fn passwords_over_tls() {
    let users = [("bob", "hunter2scram")];
    let broker = Kafka::builder().tls(Tls::Server).scram(users).start().await.unwrap();
    let known = broker.certificates().unwrap();
    let url = |login: &str, ca: &std::path::Path| {
        let (at, ca) = (broker.bootstrap(), ca.display());
        format!("kafka://{login}@{at}?sasl=scram-sha-512&tls=true&tls_ca={ca}")
    };
    works(&url("bob:hunter2scram", &known.ca)).await;
    let wrong = url("bob:hunter2wrong", &known.ca);
    refused(&wrong, ErrorKind::Unauthorized, "check `user`, `password`").await;
    let untrusted = url("bob:hunter2scram", &known.other_ca);
    refused(&untrusted, ErrorKind::Unavailable, "set `tls_ca`").await;
}
