//! As much of a NATS client as the tests need.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use test_brokers::Identity;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// How a client proves who it is.
pub(crate) enum Login<'a> {
    Nobody,
    Password(&'a str, &'a str),
    Token(&'a str),
    /// A seed, and a signed token if there is one.
    Key(&'a str, Option<&'a str>),
}

pub(crate) struct Client {
    stream: BufReader<Box<dyn Connection>>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        Self::login(port, &Login::Nobody).await
    }

    pub(crate) async fn login(port: u16, login: &Login<'_>) -> io::Result<Self> {
        within(async {
            let (stream, info) = plain(port).await?;
            let mut client = Self { stream: BufReader::new(Box::new(stream)) };
            client.introduce(&info, login).await?;
            Ok(client)
        })
        .await
    }

    /// Over TLS, trusting `ca` and presenting `identity`.
    pub(crate) async fn tls(
        port: u16,
        ca: &std::path::Path,
        identity: Option<&Identity>,
    ) -> io::Result<Self> {
        within(async {
            let (stream, info) = plain(port).await?;
            let connector = TlsConnector::from(Arc::new(tls_config(ca, identity)));
            let name = ServerName::try_from("localhost").expect("a valid name");
            let mut client =
                Self { stream: BufReader::new(Box::new(connector.connect(name, stream).await?)) };
            client.introduce(&info, &Login::Nobody).await?;
            Ok(client)
        })
        .await
    }

    async fn introduce(&mut self, info: &Value, login: &Login<'_>) -> io::Result<()> {
        let mut options =
            json!({ "verbose": false, "pedantic": false, "headers": true, "no_responders": true });
        match login {
            Login::Nobody => {}
            Login::Password(user, password) => {
                options["user"] = json!(user);
                options["pass"] = json!(password);
            }
            Login::Token(token) => options["auth_token"] = json!(token),
            Login::Key(seed, token) => {
                let key = KeyPair::from_seed(seed).expect("a valid seed");
                let nonce = info["nonce"].as_str().unwrap_or_default();
                let signature = key.sign(nonce.as_bytes()).expect("a key that signs");
                options["sig"] = json!(BASE64URL_NOPAD.encode(&signature));
                match token {
                    Some(token) => options["jwt"] = json!(token),
                    None => options["nkey"] = json!(key.public_key()),
                }
            }
        }
        self.send(&format!("CONNECT {options}\r\n")).await?;
        self.ping().await
    }

    /// Goes to the server and back; what the server complains about is an error.
    pub(crate) async fn ping(&mut self) -> io::Result<()> {
        within(async {
            self.send("PING\r\n").await?;
            loop {
                let line = self.line().await?;
                if line.starts_with("PONG") {
                    return Ok(());
                }
                complaint(&line)?;
            }
        })
        .await
    }

    pub(crate) async fn publish(&mut self, subject: &str, body: &str) -> io::Result<()> {
        self.send(&format!("PUB {subject} {}\r\n{body}\r\n", body.len())).await?;
        self.ping().await
    }

    /// The body of the answer.
    pub(crate) async fn request(&mut self, subject: &str, body: &str) -> io::Result<Value> {
        within(async {
            let length = body.len();
            self.send(&format!(
                "SUB _INBOX.test 1\r\nUNSUB 1 1\r\nPUB {subject} _INBOX.test {length}\r\n{body}\r\n"
            ))
            .await?;
            loop {
                let line = self.line().await?;
                complaint(&line)?;
                let fields: Vec<&str> = line.split_ascii_whitespace().collect();
                match fields.as_slice() {
                    ["MSG", _, _, length] => {
                        let length: usize = length.parse().expect("a length");
                        let mut body = vec![0; length + 2];
                        self.stream.read_exact(&mut body).await?;
                        return Ok(serde_json::from_slice(&body[..length])?);
                    }
                    ["HMSG", ..] => return Err(io::Error::other("nobody answers")),
                    _ => {}
                }
            }
        })
        .await
    }

    /// Creates a stream of its own subjects, with file storage.
    pub(crate) async fn create_stream(&mut self, name: &str, replicas: usize) {
        let config = json!({
            "name": name, "subjects": [format!("{name}.>")],
            "storage": "file", "num_replicas": replicas,
        });
        let answer = self
            .request(&format!("$JS.API.STREAM.CREATE.{name}"), &config.to_string())
            .await
            .expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
    }

    /// How many messages the stream holds.
    pub(crate) async fn messages(&mut self, stream: &str) -> u64 {
        let answer =
            self.request(&format!("$JS.API.STREAM.INFO.{stream}"), "").await.expect("an answer");
        answer["state"]["messages"].as_u64().expect("a stream's state")
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

async fn plain(port: u16) -> io::Result<(TcpStream, Value)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // Not buffered, so that nothing after the line is taken from a TLS handshake.
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await?);
    }
    let json = line.strip_prefix(b"INFO ").unwrap_or_default();
    Ok((stream, serde_json::from_slice(json)?))
}

fn tls_config(ca: &std::path::Path, identity: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).expect("a certificate");
    roots.add(ca).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots);
    match identity {
        None => config.with_no_client_auth(),
        Some(Identity { certificate, key, .. }) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certificate).expect("a certificate")],
                PrivateKeyDer::from_pem_file(key).expect("a key"),
            )
            .expect("an identity"),
    }
}

fn complaint(line: &str) -> io::Result<()> {
    match line.strip_prefix("-ERR") {
        Some(complaint) => Err(io::Error::other(complaint.trim().to_owned())),
        None => Ok(()),
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(Duration::from_secs(10), work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
