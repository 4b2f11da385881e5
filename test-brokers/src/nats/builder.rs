use std::path::PathBuf;

use serde_json::Value;

use super::operator::Operator;
use super::server::Nats;
use super::{NatsCluster, User};
use crate::Error;

/// What a server presents when a client connects over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// A valid certificate.
    Server,
    /// A valid certificate, and asks the client for one.
    Mutual,
    /// A certificate that has expired.
    Expired,
    /// A certificate of an authority that the client does not trust.
    OtherCa,
}

/// Who may connect.
#[derive(Debug, Clone)]
pub(super) enum Auth {
    None,
    Token(String),
    Users(Vec<User>),
    Operator(Vec<(&'static str, Value)>),
}

/// Options of a server, or of all servers of a cluster. The defaults: JetStream in
/// a directory that goes away with the server, no TLS, no authentication.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::{Nats, Tls, User};
/// let nats = Nats::builder()
///     .tls(Tls::Server)
///     .users([User::password("alice", "secret").publish(["orders.>"])])
///     .config("max_payload: 2MB")
///     .start()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing starts until `start` or `start_cluster`"]
pub struct NatsBuilder {
    pub(super) jetstream: bool,
    pub(super) store: Option<PathBuf>,
    pub(super) tls: Option<Tls>,
    pub(super) auth: Auth,
    pub(super) extra: String,
}

impl NatsBuilder {
    pub(super) fn new() -> Self {
        Self { jetstream: true, store: None, tls: None, auth: Auth::None, extra: String::new() }
    }

    /// Keeps JetStream's data in `directory`, which is not removed. The servers of
    /// a cluster have a directory in it each.
    pub fn jetstream_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// Without JetStream.
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// Clients must use TLS. The certificates are in [`Nats::certificates`].
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Clients must be one of these users.
    pub fn users(mut self, users: impl IntoIterator<Item = User>) -> Self {
        self.auth = Auth::Users(users.into_iter().collect());
        self
    }

    /// Clients must present this token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.auth = Auth::Token(token.into());
        self
    }

    /// Clients must present credentials of this operator's account.
    pub fn operator(mut self, operator: &Operator) -> Self {
        self.auth = Auth::Operator(operator.config().to_vec());
        self
    }

    /// Appends lines to the configuration file. Calling it again adds more.
    pub fn config(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Starts one server and waits until it is ready.
    pub async fn start(self) -> Result<Nats, Error> {
        let nats = Nats::create(&self, "nats", None).await?;
        nats.launch().await?;
        Ok(nats)
    }

    /// Starts a cluster of `servers` and waits until it is ready.
    pub async fn start_cluster(self, servers: usize) -> Result<NatsCluster, Error> {
        NatsCluster::create(&self, servers).await
    }
}
