use std::time::Duration;

use serde_json::Value;

use super::builder::NatsBuilder;
use super::server::{Member, Nats};
use crate::Error;
use crate::port::Port;
use crate::wait::{self, Attempt, TooLate};

/// How long a cluster may take to form or to elect a leader.
const LIMIT: Duration = Duration::from_secs(60);

/// Several nats-servers that form one JetStream cluster.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::NatsCluster;
/// let cluster = NatsCluster::start(3).await?;
/// let leader = cluster.leader_of("EVENTBUS").await?;
/// cluster.node(leader).kill();
/// let next = cluster.leader_of("EVENTBUS").await?;
/// cluster.node(leader).restart().await?;
/// cluster.ready().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Nats>,
    jetstream: bool,
    _routes: Vec<Port>,
}

impl NatsCluster {
    /// Starts `servers` servers with JetStream and waits until they are a cluster.
    pub async fn start(servers: usize) -> Result<Self, Error> {
        Nats::builder().start_cluster(servers).await
    }

    pub(super) async fn create(options: &NatsBuilder, servers: usize) -> Result<Self, Error> {
        let routes = (0..servers).map(|_| Port::take()).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<u16> = routes.iter().map(Port::number).collect();
        let mut nodes = Vec::with_capacity(servers);
        for (index, port) in all.iter().copied().enumerate() {
            let member = Member { port, all: &all };
            nodes.push(Nats::create(options, &format!("n{index}"), Some(member)).await?);
        }
        for node in &nodes {
            node.launch().await?;
        }
        let cluster = Self { nodes, jetstream: options.jetstream, _routes: routes };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The server with this index.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn node(&self, index: usize) -> &Nats {
        &self.nodes[index]
    }

    /// All servers, in the order of their indices.
    pub fn nodes(&self) -> &[Nats] {
        &self.nodes
    }

    /// The servers' URLs, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<&str> = self.nodes.iter().map(Nats::url).collect();
        urls.join(",")
    }

    /// Waits until the servers that run, and are not frozen, are connected to each
    /// other and, with JetStream, follow a leader and have caught up with their
    /// streams.
    pub async fn ready(&self) -> Result<(), Error> {
        self.wait("the cluster's readiness", || self.probe()).await
    }

    /// The index of the server that leads `stream`, waiting for an election. A
    /// server that is down or frozen is not it, whatever the others still believe.
    pub async fn leader_of(&self, stream: &str) -> Result<usize, Error> {
        let find = |answer: &Value| stream_leader(answer, stream);
        self.wait(&format!("a leader of stream {stream}"), || {
            self.leader("/jsz?accounts=true&streams=true", find)
        })
        .await
    }

    /// The index of the server that leads the cluster itself, which creates streams
    /// and consumers.
    pub async fn meta_leader(&self) -> Result<usize, Error> {
        let find = |answer: &Value| answer["meta_cluster"]["leader"].as_str().map(str::to_owned);
        self.wait("a leader of the cluster", || self.leader("/jsz", find)).await
    }

    async fn wait<T, A>(&self, what: &str, mut attempt: impl FnMut() -> A) -> Result<T, Error>
    where
        A: Future<Output = Result<T, String>>,
    {
        let outcome = wait::until::<T, (), _>(LIMIT, || {
            let attempt = attempt();
            async { attempt.await.map_or_else(Attempt::NotYet, Attempt::Ready) }
        });
        let (after, last) = match outcome.await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(())) => (Duration::ZERO, String::new()),
            Err(TooLate { after, last }) => (after, last),
        };
        Err(Error::Deadline { what: what.to_owned(), after, last })
    }

    async fn probe(&self) -> Result<(), String> {
        let running: Vec<&Nats> = self.nodes.iter().filter(|node| node.answers()).collect();
        for node in &running {
            let routes = node.monitor("/routez").await?;
            let mut peers: Vec<&str> = routes["routes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|route| route["remote_name"].as_str())
                .collect();
            peers.sort_unstable();
            peers.dedup();
            if peers.len() + 1 < running.len() {
                return Err(format!("{} has routes to {peers:?} only", node.url()));
            }
            if self.jetstream {
                node.monitor("/healthz").await?;
                if meta_leader(&node.monitor("/jsz").await?).is_none() {
                    return Err(format!("{} knows no leader", node.url()));
                }
            }
        }
        Ok(())
    }

    /// Asks one server after the other who leads, by its name `n<index>`.
    async fn leader(
        &self,
        path: &str,
        find: impl Fn(&Value) -> Option<String>,
    ) -> Result<usize, String> {
        let mut said = String::from("no server runs");
        for node in self.nodes.iter().filter(|node| node.answers()) {
            match node.monitor(path).await {
                Ok(answer) => match find(&answer) {
                    Some(name) => match self.index(&name) {
                        Some(index) if self.nodes[index].answers() => return Ok(index),
                        _ => said = format!("{name} leads, and does not run"),
                    },
                    None => said = format!("{} knows none", node.url()),
                },
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    fn index(&self, name: &str) -> Option<usize> {
        let index: usize = name.strip_prefix('n')?.parse().ok()?;
        (index < self.nodes.len()).then_some(index)
    }
}

fn meta_leader(answer: &Value) -> Option<String> {
    answer["meta_cluster"]["leader"].as_str().filter(|leader| !leader.is_empty()).map(str::to_owned)
}

fn stream_leader(answer: &Value, stream: &str) -> Option<String> {
    answer["account_details"]
        .as_array()?
        .iter()
        .filter_map(|account| account["stream_detail"].as_array())
        .flatten()
        .find(|detail| detail["name"] == stream)?["cluster"]["leader"]
        .as_str()
        .filter(|leader| !leader.is_empty())
        .map(str::to_owned)
}
