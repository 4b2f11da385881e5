use test_brokers::{Nats, Nkey, Operator, Tls, User};

use crate::client::{Client, Login};

#[tokio::test]
async fn users_need_their_password_and_stay_within_their_permissions() {
    let nats = Nats::builder()
        .users([
            User::password("admin", "all"),
            User::password("alice", "secret").publish(["orders.>"]).deny_subscribe(["secret.>"]),
        ])
        .start()
        .await
        .unwrap();
    let port = nats.port();

    let mut alice = Client::login(port, &Login::Password("alice", "secret")).await.unwrap();
    alice.publish("orders.new", "x").await.unwrap();
    let error = alice.publish("invoices.new", "x").await.unwrap_err().to_string();
    assert!(error.contains("Permissions Violation"), "{error}");

    let mut admin = Client::login(port, &Login::Password("admin", "all")).await.unwrap();
    admin.create_stream("ORDERS", 1).await;

    for login in [Login::Password("alice", "wrong"), Login::Nobody] {
        let error = Client::login(port, &login).await.err().expect("refused").to_string();
        assert!(error.contains("Authorization Violation"), "{error}");
    }
}

#[tokio::test]
async fn a_token_lets_in() {
    let nats = Nats::builder().token("t0ken").start().await.unwrap();
    Client::login(nats.port(), &Login::Token("t0ken")).await.unwrap();
    assert!(Client::login(nats.port(), &Login::Token("other")).await.is_err());
}

#[tokio::test]
async fn a_key_lets_in_whoever_holds_its_seed() {
    let key = Nkey::generate().unwrap();
    let nats = Nats::builder().users([User::nkey(&key)]).start().await.unwrap();
    Client::login(nats.port(), &Login::Key(key.seed(), None)).await.unwrap();

    let stranger = Nkey::generate().unwrap();
    assert!(Client::login(nats.port(), &Login::Key(stranger.seed(), None)).await.is_err());
}

#[tokio::test]
async fn credentials_of_the_operators_account_let_in() {
    let operator = Operator::generate().unwrap();
    let nats = Nats::builder().operator(&operator).start().await.unwrap();

    let credentials = operator.credentials("billing").unwrap();
    let mut lines = credentials.lines().filter(|line| !line.is_empty() && !line.starts_with('-'));
    let (token, seed) = (lines.next().unwrap(), lines.next().unwrap());
    let login = Login::Key(seed, Some(token));
    let mut client = Client::login(nats.port(), &login).await.unwrap();
    client.create_stream("BILLS", 1).await;

    assert!(Client::connect(nats.port()).await.is_err());
    let stranger = Operator::generate().unwrap().credentials("billing").unwrap();
    let mut lines = stranger.lines().filter(|line| !line.is_empty() && !line.starts_with('-'));
    let (token, seed) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(Client::login(nats.port(), &Login::Key(seed, Some(token))).await.is_err());
}

#[tokio::test]
async fn tls_with_a_trusted_certificate() {
    let nats = Nats::builder().tls(Tls::Server).start().await.unwrap();
    let certificates = nats.certificates().unwrap();
    assert!(nats.url().starts_with("tls://"));

    let mut client = Client::tls(nats.port(), &certificates.ca, None).await.unwrap();
    client.create_stream("SAFE", 1).await;

    let distrustful = Client::tls(nats.port(), &certificates.other_ca, None).await;
    let error = distrustful.err().expect("refused").to_string();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    assert!(Client::connect(nats.port()).await.is_err(), "TLS is not optional");
}

#[tokio::test]
async fn mutual_tls_asks_the_client_for_a_certificate() {
    let nats = Nats::builder().tls(Tls::Mutual).start().await.unwrap();
    let certificates = nats.certificates().unwrap();
    let ca = &certificates.ca;

    Client::tls(nats.port(), ca, Some(&certificates.client)).await.unwrap();
    for identity in [None, Some(&certificates.other), Some(&certificates.expired)] {
        let refused = Client::tls(nats.port(), ca, identity).await;
        assert!(refused.is_err(), "{identity:?}");
    }
}

#[tokio::test]
async fn certificates_that_no_client_should_accept() {
    for (tls, complaint) in [(Tls::Expired, "expired"), (Tls::OtherCa, "UnknownIssuer")] {
        let nats = Nats::builder().tls(tls).start().await.unwrap();
        let ca = &nats.certificates().unwrap().ca;
        let refused = Client::tls(nats.port(), ca, None).await;
        let error = refused.err().expect("refused").to_string();
        assert!(error.contains(complaint), "{tls:?}: {error}");
    }
}
