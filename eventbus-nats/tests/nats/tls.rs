//! Certificates, right and wrong.

use std::path::Path;

use eventbus_core::{Error, ErrorKind};
use test_brokers::{Certificates, Identity, Nats, Tls};

use crate::steps::{connect, publish};

fn url(server: &Nats, ca: &Path, identity: Option<&Identity>) -> String {
    let mut url =
        format!("nats://127.0.0.1:{}?connect_timeout=20s&tls_ca={}", server.port(), ca.display());
    if let Some(Identity { certificate, key, .. }) = identity {
        url += &format!("&tls_cert={}&tls_key={}", certificate.display(), key.display());
    }
    url
}

fn certificates(server: &Nats) -> &Certificates {
    server.certificates().unwrap()
}

async fn works(url: &str) {
    let bus = connect(url).await.unwrap();
    publish(&bus, 1).await.unwrap();
    bus.close().await.unwrap();
}

/// Checks the kind, what the message says, and that it names the server or the file.
async fn refused(url: &str, kind: ErrorKind, said: &str) -> Error {
    let Err(error) = connect(url).await else { panic!("it was let in") };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.message().contains(said), "{error}");
    assert!(error.context().any(|(name, _)| name == "server" || name == "file"), "{error}");
    error
}

#[tokio::test]
async fn a_server_that_wants_a_certificate() {
    let server = Nats::builder().tls(Tls::Mutual).start().await.unwrap();
    let known = certificates(&server);
    let with = |identity| url(&server, &known.ca, identity);
    works(&with(Some(&known.client))).await;
    let kind = ErrorKind::Unauthorized;
    let error = refused(&with(None), kind, "set `tls_cert`").await;
    assert!(!error.is_temporary(), "{error}");
    refused(&with(Some(&known.other)), kind, "does not trust the authority").await;
    refused(&with(Some(&known.expired)), kind, "certificate has expired").await;
}

#[tokio::test]
async fn a_server_whose_certificate_has_expired() {
    let server = Nats::builder().tls(Tls::Expired).start().await.unwrap();
    let url = url(&server, &certificates(&server).ca, None);
    refused(&url, ErrorKind::Unavailable, "server's certificate has expired").await;
}

#[tokio::test]
async fn a_server_of_another_authority() {
    let server = Nats::builder().tls(Tls::OtherCa).start().await.unwrap();
    let known = certificates(&server);
    works(&url(&server, &known.other_ca, None)).await;
    let kind = ErrorKind::Unavailable;
    let error = refused(&url(&server, &known.ca, None), kind, "not trusted here").await;
    assert!(error.message().contains("`tls_ca`"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let server = Nats::start().await.unwrap();
    for parameter in ["tls", "tls_first"] {
        let url = format!("{}?{parameter}=true", server.url());
        refused(&url, ErrorKind::Unavailable, "does not speak TLS").await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used() {
    let server = Nats::builder().tls(Tls::Mutual).start().await.unwrap();
    let known = certificates(&server);
    let nowhere = Path::new("/nowhere/at-all.pem");
    let with = |certificate: &Path, key: &Path| {
        let mut identity = known.client.clone();
        identity.certificate = certificate.to_owned();
        identity.key = key.to_owned();
        url(&server, &known.ca, Some(&identity))
    };
    let kind = ErrorKind::InvalidConfig;
    let Identity { certificate, key, .. } = &known.client;
    for (url, parameter, file) in [
        (url(&server, nowhere, None), "tls_ca", nowhere),
        (url(&server, key, None), "tls_ca", key.as_path()),
        (with(nowhere, key), "tls_cert", nowhere),
        (with(key, key), "tls_cert", key),
        (with(certificate, nowhere), "tls_key", nowhere),
        (with(certificate, certificate), "tls_key", certificate),
    ] {
        let text = refused(&url, kind, "no readable PEM file").await.to_string();
        assert!(text.contains(parameter) && text.contains(&file.display().to_string()), "{text}");
    }
    let url = with(certificate, &known.server.key);
    refused(&url, kind, "not the key of the certificate").await;
}
