use std::fs;
use std::path::Path;

use test_brokers::{Certificates, Identity, Kafka, Tls};

use crate::tool::run;

/// Asks for the topics as a client with these properties does.
fn topics(kafka: &Kafka, properties: &str) -> Result<(), String> {
    let file = kafka.directory().join("client.properties");
    // A refused client would try again for a minute.
    let text = format!("{properties}\ndefault.api.timeout.ms=5000\nrequest.timeout.ms=5000\n");
    fs::write(&file, text).unwrap();
    let arguments = ["--list", "--command-config", file.to_str().unwrap()];
    let output = run(kafka, "org.apache.kafka.tools.TopicCommand", &arguments, "");
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{output:?}")),
    }
}

fn login(protocol: &str, mechanism: &str, name: &str, password: &str) -> String {
    let module = match mechanism {
        "PLAIN" => "plain.PlainLoginModule",
        _ => "scram.ScramLoginModule",
    };
    format!(
        "security.protocol={protocol}\nsasl.mechanism={mechanism}\n\
         sasl.jaas.config=org.apache.kafka.common.security.{module} required \
         username=\"{name}\" password=\"{password}\";"
    )
}

fn trust(ca: &Path) -> String {
    format!("ssl.truststore.type=PEM\nssl.truststore.location={}", ca.display())
}

fn tls(ca: &Path) -> String {
    format!("security.protocol=SSL\n{}", trust(ca))
}

#[tokio::test]
async fn passwords_let_in_by_either_mechanism() {
    let kafka = Kafka::builder()
        .plain([("alice", "secret")])
        .scram([("bob", "hidden"), ("carol", "private")])
        .start()
        .await
        .unwrap();
    let try_it = |mechanism, name, password| {
        topics(&kafka, &login("SASL_PLAINTEXT", mechanism, name, password))
    };
    try_it("PLAIN", "alice", "secret").unwrap();
    try_it("SCRAM-SHA-512", "carol", "private").unwrap();
    for (mechanism, name, password) in [
        ("PLAIN", "alice", "wrong"),
        ("PLAIN", "bob", "hidden"),
        ("SCRAM-SHA-512", "bob", "wrong"),
        ("SCRAM-SHA-256", "bob", "hidden"),
    ] {
        let error = try_it(mechanism, name, password).unwrap_err();
        let refused = ["SaslAuthenticationException", "UnsupportedSaslMechanismException"];
        assert!(refused.iter().any(|name| error.contains(name)), "{mechanism} {name}: {error}");
    }
    topics(&kafka, "").unwrap_err();

    // The users are in the store.
    kafka.kill();
    kafka.restart().await.unwrap();
    topics(&kafka, &login("SASL_PLAINTEXT", "SCRAM-SHA-512", "bob", "hidden")).unwrap();
}

#[tokio::test]
async fn passwords_over_tls() {
    let kafka =
        Kafka::builder().tls(Tls::Server).scram([("alice", "secret")]).start().await.unwrap();
    let Certificates { ca, other_ca, .. } = kafka.certificates().unwrap();
    let login = login("SASL_SSL", "SCRAM-SHA-512", "alice", "secret");
    topics(&kafka, &format!("{login}\n{}", trust(ca))).unwrap();
    let error = topics(&kafka, &format!("{login}\n{}", trust(other_ca))).unwrap_err();
    assert!(error.contains("SslAuthenticationException"), "{error}");
    topics(&kafka, &tls(ca)).unwrap_err();
}

#[tokio::test]
async fn mutual_tls_asks_the_client_for_a_certificate() {
    let kafka = Kafka::builder().tls(Tls::Mutual).start().await.unwrap();
    let Certificates { ca, client, other, expired, .. } = kafka.certificates().unwrap();
    let with = |identity: &Identity| {
        let file = kafka.directory().join("client.pem");
        fs::write(&file, identity.in_one().unwrap()).unwrap();
        let key = format!("ssl.keystore.type=PEM\nssl.keystore.location={}", file.display());
        topics(&kafka, &format!("{}\n{key}", tls(ca)))
    };
    with(client).unwrap();
    for refused in [other, expired] {
        with(refused).unwrap_err();
    }
    topics(&kafka, &tls(ca)).unwrap_err();
    topics(&kafka, "").unwrap_err();
}

#[tokio::test]
async fn certificates_that_no_client_should_accept() {
    for (shown, complaint) in
        [(Tls::Expired, "CertificateExpiredException"), (Tls::OtherCa, "certification path")]
    {
        let kafka = Kafka::builder().tls(shown).start().await.unwrap();
        let error = topics(&kafka, &tls(&kafka.certificates().unwrap().ca)).unwrap_err();
        assert!(error.contains(complaint), "{shown:?}: {error}");
    }
}
