//! Who may connect, and what they may do.

use std::sync::Arc;

use eventbus_core::{
    Delivery, Error, ErrorKind, EventBus, EventBusExt, SubscribeOptions, Subscription, Topic,
};
use test_brokers::{Nats, Nkey, Operator, Tls, User};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use crate::steps::{PATIENCE, TOPIC, connect, event, publish};

const PASSWORD: &str = "hunter2secret";

fn without_scheme(url: &str) -> &str {
    url.split("://").nth(1).unwrap()
}

async fn refused(url: &str) -> Error {
    match connect(url).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            error
        }
    }
}

async fn works(url: &str) {
    let bus = connect(url).await.unwrap();
    publish(&bus, 1).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn user_and_password() {
    let users = [User::password("us@er", PASSWORD)];
    let server = Nats::builder().users(users).start().await.unwrap();
    let host = without_scheme(server.url());
    works(&format!("nats://us%40er:{PASSWORD}@{host}")).await;
    works(&format!("nats://{host}?user=us%40er&password={PASSWORD}")).await;
    for url in [
        format!("nats://us%40er:{PASSWORD}wrong@{host}"),
        format!("nats://{PASSWORD}@{host}"),
        format!("nats://{host}"),
    ] {
        assert_eq!(refused(&url).await.kind(), ErrorKind::Unauthorized);
    }
}

#[tokio::test]
async fn token() {
    let server = Nats::builder().token(PASSWORD).start().await.unwrap();
    let host = without_scheme(server.url());
    works(&format!("nats://{PASSWORD}@{host}")).await;
    works(&format!("nats://{host}?token={PASSWORD}")).await;
    let error = refused(&format!("nats://{host}?token={PASSWORD}x")).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn nkey_and_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let key = Nkey::generate().unwrap();
    let server = Nats::builder().users([User::nkey(&key)]).start().await.unwrap();
    let host = without_scheme(server.url());
    let seed = directory.path().join("seed");
    std::fs::write(&seed, key.seed()).unwrap();
    works(&format!("nats://{host}?nkey={}", seed.display())).await;
    std::fs::write(&seed, Nkey::generate().unwrap().seed()).unwrap();
    let error = refused(&format!("nats://{host}?nkey={}", seed.display())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let error = refused(&format!("nats://{host}?nkey=/nowhere")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);

    let operator = Operator::generate().unwrap();
    let server = Nats::builder().operator(&operator).start().await.unwrap();
    let host = without_scheme(server.url());
    let credentials = directory.path().join("user.creds");
    std::fs::write(&credentials, operator.credentials("alice").unwrap()).unwrap();
    works(&format!("nats://{host}?credentials={}", credentials.display())).await;
    let other = Operator::generate().unwrap();
    std::fs::write(&credentials, other.credentials("alice").unwrap()).unwrap();
    let error = refused(&format!("nats://{host}?credentials={}", credentials.display())).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    std::fs::write(&credentials, "no credentials").unwrap();
    let error = refused(&format!("nats://{host}?credentials={}", credentials.display())).await;
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}

#[tokio::test]
async fn tls() {
    let server = Nats::builder().tls(Tls::Server).start().await.unwrap();
    let host = without_scheme(server.url());
    let certificates = server.certificates().unwrap();
    let ca = certificates.ca.display();
    works(&format!("nats://{host}?tls=true&tls_ca={ca}")).await;
    // Without the authority the certificate is unknown.
    let error = refused(&format!("nats://{host}")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("TLS"), "{error}");
    let plain = Nats::start().await.unwrap();
    let url = format!("nats://{}?tls=true&tls_ca={ca}", without_scheme(plain.url()));
    assert_eq!(refused(&url).await.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn publishing_without_the_permission() {
    let user = User::password("u", PASSWORD).deny_publish(["eb.secret.>"]);
    let server = Nats::builder().users([user]).start().await.unwrap();
    let url = format!("nats://u:{PASSWORD}@{}", without_scheme(server.url()));
    let bus = connect(&url).await.unwrap();
    let secret = Topic::from_static("secret.plans");
    let publishing = bus.publish_sync(&secret, event("k", 1));
    let error = tokio::time::timeout(PATIENCE, publishing).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("eb.secret.plans"), "{error}");
    let error = Error::from(error);
    assert!(!error.is_ambiguous(), "{error}");
    publish(&bus, 2).await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn subscribing_and_provisioning_without_the_permission() {
    let user = User::password("u", PASSWORD)
        .deny_publish(["$JS.API.CONSUMER.CREATE.>", "$JS.API.STREAM.CREATE.>"]);
    let admin = User::password("admin", PASSWORD);
    let server = Nats::builder().users([user, admin]).start().await.unwrap();
    let host = without_scheme(server.url());
    let url = format!("nats://u:{PASSWORD}@{host}");
    let bus = connect(&url).await.unwrap();
    let error = bus.ensure_topic(&TOPIC).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("STREAM.CREATE"), "{error}");
    bus.close().await.unwrap();
    works(&format!("nats://admin:{PASSWORD}@{host}")).await;
    let bus = connect(&url).await.unwrap();
    let error = bus.subscribe(&TOPIC.filter(), SubscribeOptions::group("g")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("CONSUMER.CREATE"), "{error}");
    bus.close().await.unwrap();
}

/// Subscribes as a user who may not publish to these subjects, and gives the first event or
/// how the stream ends.
async fn restricted(
    server: &Nats,
    publish: bool,
) -> (Arc<dyn EventBus>, Subscription, Result<Delivery, Error>) {
    let host = without_scheme(server.url());
    let bus = connect(&format!("nats://u:{PASSWORD}@{host}")).await.unwrap();
    let mut subscription =
        bus.subscribe(&TOPIC.filter(), SubscribeOptions::group("g")).await.unwrap();
    if publish {
        works(&format!("nats://admin:{PASSWORD}@{host}")).await;
    }
    let first = item(&mut subscription).await;
    (bus, subscription, first)
}

async fn item(subscription: &mut Subscription) -> Result<Delivery, Error> {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
    next.expect("nothing came in time").expect("the stream has ended").map_err(Error::from)
}

async fn with_denied(subject: &str) -> Nats {
    let user = User::password("u", PASSWORD).deny_publish([subject]);
    let admin = User::password("admin", PASSWORD);
    Nats::builder().users([user, admin]).start().await.unwrap()
}

fn assert_denied(error: &Error, subject: &str) {
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(!error.is_ambiguous() && error.to_string().contains(subject), "{error}");
}

#[tokio::test]
async fn pulling_without_the_permission() {
    let server = with_denied("$JS.API.CONSUMER.MSG.NEXT.>").await;
    let (bus, mut subscription, first) = restricted(&server, false).await;
    assert_denied(&first.unwrap_err(), "$JS.API.CONSUMER.MSG.NEXT.EVENTBUS.");
    assert!(subscription.next().await.is_none());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn acknowledging_without_the_permission() {
    let server = with_denied("$JS.ACK.>").await;
    let (bus, mut subscription, first) = restricted(&server, true).await;
    // The acknowledgement is not answered, so that the stream has to tell.
    first.unwrap().ack().await.unwrap();
    let error = item(&mut subscription).await.unwrap_err();
    assert_denied(&error, "$JS.ACK.");
    assert!(error.message().contains("may not acknowledge"), "{error}");
    assert!(subscription.next().await.is_none());
    bus.close().await.unwrap();
}

#[tokio::test]
async fn confirmed_acknowledging_without_the_permission() {
    let server = with_denied("$JS.ACK.>").await;
    let (bus, _subscription, first) = restricted(&server, true).await;
    let confirming = first.unwrap().ack_confirmed();
    let failure = tokio::time::timeout(PATIENCE, confirming).await.unwrap().unwrap_err();
    let (error, _) = failure.into_parts();
    assert_denied(&error, "$JS.ACK.");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn answers_that_may_not_be_heard() {
    let user = User::password("u", PASSWORD).subscribe(["mine.>"]);
    let server = Nats::builder().users([user]).start().await.unwrap();
    let url = format!("nats://u:{PASSWORD}@{}", without_scheme(server.url()));
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("inbox_prefix"), "{error}");
    works(&format!("{url}?inbox_prefix=mine")).await;
}

#[tokio::test]
async fn without_jetstream_there_is_no_bus() {
    let server = Nats::builder().without_jetstream().start().await.unwrap();
    let error = refused(server.url()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("JetStream"), "{error}");
}

#[tokio::test]
async fn an_account_without_jetstream() {
    let accounts = format!(
        "accounts: {{ A: {{ jetstream: enabled, users: [{{ user: a, password: {PASSWORD} }}] }}\n\
         B: {{ users: [{{ user: b, password: {PASSWORD} }}] }} }}"
    );
    let server = Nats::builder().config(&accounts).start().await.unwrap();
    let host = without_scheme(server.url());
    works(&format!("nats://a:{PASSWORD}@{host}")).await;
    let error = refused(&format!("nats://b:{PASSWORD}@{host}")).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("JetStream"), "{error}");
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = r#"INFO {"server_id":"S","version":"2.9.25","max_payload":1048576}"#;
        stream.write_all(format!("{info}\r\n").as_bytes()).await.unwrap();
        let mut lines = BufReader::new(&mut stream).lines();
        while lines.next_line().await.unwrap().expect("it hung up") != "PING" {}
        stream.write_all(b"PONG\r\n").await.unwrap();
        // Until the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let shown = error.to_string();
    assert!(shown.contains("version 2.9.25") && shown.contains("2.10 or newer"), "{shown}");
    tokio::time::timeout(PATIENCE, server).await.expect("the connection stayed").unwrap();
}
