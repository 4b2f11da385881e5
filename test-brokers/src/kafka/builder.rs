use std::path::PathBuf;

use super::KafkaCluster;
use super::node::Kafka;
use super::security::Security;
use crate::{Error, Tls};

/// Options of a [`Kafka`] broker, or of all brokers of a [`KafkaCluster`]. The
/// defaults: a store that goes away with the broker, no TLS, no authentication.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::{Kafka, Tls};
/// let kafka = Kafka::builder()
///     .tls(Tls::Server)
///     .scram([("alice", "secret")])
///     .config("num.partitions=4")
///     .start()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing starts until `start` or `start_cluster`"]
pub struct KafkaBuilder {
    pub(super) store: Option<PathBuf>,
    pub(super) advertised: Option<u16>,
    pub(super) security: Security,
    pub(super) extra: String,
    pub(super) full_speed: bool,
}

impl KafkaBuilder {
    /// Keeps the topics in `directory`, which is not removed. The brokers of a
    /// cluster have a directory in it each.
    pub fn store_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// Tells clients to connect to this port of `127.0.0.1`, where a proxy passes on to
    /// [`Kafka::port`]. For one broker: those of a cluster need a proxy each.
    pub fn behind(mut self, port: u16) -> Self {
        self.advertised = Some(port);
        self
    }

    /// Clients must use TLS. The certificates are in [`Kafka::certificates`].
    pub fn tls(mut self, tls: Tls) -> Self {
        self.security.tls = Some(tls);
        self
    }

    /// Clients must be somebody: by SASL PLAIN one of these names and passwords,
    /// or whom [`scram`](Self::scram) lets in.
    pub fn plain<'a>(mut self, users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.security.plain.extend(owned(users));
        self
    }

    /// Clients must be somebody: by SASL SCRAM-SHA-512 one of these names and
    /// passwords, or whom [`plain`](Self::plain) lets in. A store that exists
    /// already keeps the users that it was made with.
    pub fn scram<'a>(mut self, users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.security.scram.extend(owned(users));
        self
    }

    /// Appends lines to the broker's properties; a later line overrides an earlier
    /// one. Calling it again adds more.
    pub fn config(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Lets the JVM compile as much as Kafka's own start script does: for measurements.
    /// Otherwise a broker starts sooner, and reaches less when it is busy.
    pub fn full_speed(mut self) -> Self {
        self.full_speed = true;
        self
    }

    /// Starts the broker and waits until it is ready.
    pub async fn start(self) -> Result<Kafka, Error> {
        let kafka = Kafka::create(&self, None).await?;
        kafka.launch().await?;
        Ok(kafka)
    }

    /// Starts a cluster of `brokers` and waits until it is ready. New topics have
    /// three replicas, or as many as there are brokers, and all but one of them
    /// must have what is acknowledged to `acks=all`.
    pub async fn start_cluster(self, brokers: usize) -> Result<KafkaCluster, Error> {
        KafkaCluster::create(&self, brokers).await
    }
}

fn owned<'a>(
    users: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> impl Iterator<Item = (String, String)> {
    users.into_iter().map(|(name, password)| (name.to_owned(), password.to_owned()))
}
