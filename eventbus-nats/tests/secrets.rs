//! No secret in any log, error or `Debug` text.
//!
//! Alone in its program: whether a line is logged is decided once for all threads, so that
//! another test without a log could turn it off.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::{path::Path, sync::Arc};

use eventbus_core::{Envelope, EventBusExt, Registry, SubscribeOptions, Topic};
use eventbus_nats::NatsBus;
use test_brokers::{Nats, Nkey, Operator, Tls, User};

const TOPIC: Topic = Topic::from_static("orders.created");

/// Uses a bus, or is refused; gives all that can be shown about it.
async fn show(url: &str) -> String {
    let mut registry = Registry::new();
    eventbus_nats::register(&mut registry);
    let bus = match registry.builder(url).connect().await {
        Ok(bus) => bus,
        Err(error) => return format!("{error} {error:?}\n"),
    };
    let mut shown = String::new();
    if let Err(error) = bus.publish_sync(&TOPIC, Envelope::new("test", "1")).await {
        shown += &format!("{error} {error:?}\n");
    }
    if let Err(error) = bus.subscribe(&TOPIC.filter(), SubscribeOptions::group("g")).await {
        shown += &format!("{error} {error:?}\n");
    }
    let nats = bus.as_any().downcast_ref::<NatsBus>().unwrap();
    shown += &format!("{nats:?} {:?} {:?}\n", nats.transport(), bus.health().await);
    bus.close().await.unwrap();
    shown
}

/// The lines of a file with keys in it that are secret.
fn secret_lines(text: &str) -> impl Iterator<Item = String> {
    let is_secret = |line: &&str| line.len() > 40 && !line.starts_with('-');
    text.lines().filter(is_secret).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Client certificates and keys, the right ones and files that are something else.
async fn show_tls(directory: &Path, seed: &Path, secrets: &mut Vec<String>) -> String {
    let server = Nats::builder().tls(Tls::Mutual).start().await.unwrap();
    let known = server.certificates().unwrap();
    let key = std::fs::read_to_string(&known.client.key).unwrap();
    secrets.extend(secret_lines(&key));
    let broken = directory.join("broken.pem");
    std::fs::write(&broken, key.replace("-----END", "----END")).unwrap();
    let base = format!("nats://127.0.0.1:{}?tls_ca={}", server.port(), known.ca.display());
    let mut shown = show(&base).await;
    for (certificate, key) in [
        (&known.client.certificate, known.client.key.as_path()),
        (&known.other.certificate, &known.other.key),
        (&known.client.certificate, &known.other.key),
        (&known.client.certificate, &broken),
        (&known.client.certificate, seed),
        (&known.client.key, &known.client.key),
        (&known.client.certificate, Path::new("/nowhere")),
        // The key itself where its path belongs.
        (&known.client.certificate, Path::new(&key)),
    ] {
        let (certificate, key) = (certificate.display(), key.display().to_string());
        let key = key.replace('%', "%25").replace('+', "%2B").replace('\n', "%0A");
        shown += &show(&format!("{base}&tls_cert={certificate}&tls_key={key}")).await;
    }
    shown += &show(&base.replace("tls_ca=", "nkey=")).await;
    shown
}

/// A user who may do nothing, and a server without JetStream.
async fn show_refusals() -> String {
    let user = User::password("u", "den1edPassw0rd").deny_publish(["eb.>", "$JS.>"]);
    let denied = Nats::builder().users([user]).start().await.unwrap();
    let mut shown = show(&format!("nats://u:den1edPassw0rd@127.0.0.1:{}", denied.port())).await;
    let user = User::password("u", "0ffPassw0rd");
    let off = Nats::builder().users([user]).without_jetstream().start().await.unwrap();
    shown += &show(&format!("nats://u:0ffPassw0rd@127.0.0.1:{}", off.port())).await;
    assert!(shown.contains("may not publish") && shown.contains("JetStream"), "{shown}");
    shown
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(Arc::new(log.reopen().unwrap()))
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut shown = String::new();

    let users = Nats::builder().users([User::password("u", "s3cretPassw0rd")]).start().await;
    let users = users.unwrap();
    shown += &show(&format!("nats://u:s3cretPassw0rd@127.0.0.1:{}", users.port())).await;
    shown += &show(&format!("nats://u:wr0ngPassw0rd@127.0.0.1:{}", users.port())).await;
    let token = Nats::builder().token("s3cretT0ken").start().await.unwrap();
    shown += &show(&format!("{}?token=s3cretT0ken", token.url())).await;
    shown += &show(&format!("{}?token=wr0ngT0ken", token.url())).await;
    let key = Nkey::generate().unwrap();
    let nkey = Nats::builder().users([User::nkey(&key)]).start().await.unwrap();
    let seed = directory.path().join("seed");
    std::fs::write(&seed, key.seed()).unwrap();
    shown += &show(&format!("{}?nkey={}", nkey.url(), seed.display())).await;
    let operator = Operator::generate().unwrap();
    let accounts = Nats::builder().operator(&operator).start().await.unwrap();
    let credentials = directory.path().join("creds");
    let text = operator.credentials("alice").unwrap();
    std::fs::write(&credentials, &text).unwrap();
    shown += &show(&format!("{}?credentials={}", accounts.url(), credentials.display())).await;

    let mut secrets: Vec<_> =
        ["s3cretPassw0rd", "wr0ngPassw0rd", "s3cretT0ken", "wr0ngT0ken", "den1edPassw0rd"]
            .map(str::to_owned)
            .into();
    secrets.extend(["0ffPassw0rd".to_owned(), key.seed().to_owned()]);
    secrets.extend(secret_lines(&text));
    // The seed where the path of its file belongs.
    shown += &show(&format!("{}?nkey={}", nkey.url(), key.seed())).await;
    shown += &show_tls(directory.path(), &seed, &mut secrets).await;
    shown += &show_refusals().await;

    shown += &String::from_utf8_lossy(&std::fs::read(log.path()).unwrap());
    assert!(shown.contains("write operation"), "nothing was logged at trace level");
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} was shown");
    }
}
