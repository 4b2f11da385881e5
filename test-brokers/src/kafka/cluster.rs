use std::time::Duration;

use super::builder::KafkaBuilder;
use super::metadata::{Metadata, Partition};
use super::node::{Kafka, Member};
use super::properties::node_id;
use crate::Error;
use crate::port::Port;
use crate::wait::{self, Attempt, TooLate};

/// How long a cluster may take to form or to elect a leader.
const LIMIT: Duration = Duration::from_secs(180);

/// Several Kafka brokers that form one cluster, each its own controller (KRaft,
/// combined mode).
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::KafkaCluster;
/// let cluster = KafkaCluster::start(3).await?;
/// // … a topic "orders" is created …
/// let leader = cluster.leader_of("orders", 0).await?;
/// cluster.node(leader).kill();
/// let next = cluster.leader_of("orders", 0).await?;
/// cluster.node(leader).restart().await?;
/// cluster.ready().await?;
/// cluster.rolling_restart().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KafkaCluster {
    nodes: Vec<Kafka>,
    _controllers: Vec<Port>,
}

impl KafkaCluster {
    /// Starts `brokers` brokers and waits until they are a cluster.
    pub async fn start(brokers: usize) -> Result<Self, Error> {
        Kafka::builder().start_cluster(brokers).await
    }

    pub(super) async fn create(options: &KafkaBuilder, brokers: usize) -> Result<Self, Error> {
        let controllers = (0..brokers).map(|_| Port::take()).collect::<Result<Vec<_>, _>>()?;
        let all: Vec<u16> = controllers.iter().map(Port::number).collect();
        let mut nodes = Vec::with_capacity(brokers);
        for index in 0..brokers {
            nodes.push(Kafka::create(options, Some(Member { index, all: &all })).await?);
        }
        // None is ready before most of them run.
        for node in &nodes {
            node.spawn()?;
        }
        for node in &nodes {
            node.wait().await?;
        }
        let cluster = Self { nodes, _controllers: controllers };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The broker with this index.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn node(&self, index: usize) -> &Kafka {
        &self.nodes[index]
    }

    /// All brokers, in the order of their indices.
    pub fn nodes(&self) -> &[Kafka] {
        &self.nodes
    }

    /// What Kafka clients call `bootstrap.servers`: all brokers, separated by commas.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<&str> = self.nodes.iter().map(Kafka::bootstrap).collect();
        addresses.join(",")
    }

    /// Where clients connect: `kafka://127.0.0.1:<port>,127.0.0.1:<port>,…`.
    pub fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap())
    }

    /// Waits until the brokers that run, and are not frozen, know each other, each
    /// partition has a leader, and their replicas have caught up.
    pub async fn ready(&self) -> Result<(), Error> {
        self.until("the cluster's readiness", || self.probe()).await
    }

    /// The index of the broker that leads this partition, waiting for an election. A
    /// broker that is down or frozen is not it, whatever the others still believe.
    pub async fn leader_of(&self, topic: &str, partition: i32) -> Result<usize, Error> {
        let what = format!("a leader of {topic} {partition}");
        self.until(&what, || self.leader(topic, partition)).await
    }

    /// Stops each broker in order and starts it again, waiting after each until the
    /// cluster is [`ready`](Self::ready).
    pub async fn rolling_restart(&self) -> Result<(), Error> {
        for node in &self.nodes {
            node.restart().await?;
            self.ready().await?;
        }
        Ok(())
    }

    async fn until<T, A>(&self, what: &str, mut attempt: impl FnMut() -> A) -> Result<T, Error>
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

    /// The ids of the brokers that run and are not frozen, with each one's view.
    async fn views(&self) -> Result<(Vec<i32>, Vec<Metadata>), String> {
        let (mut ids, mut views) = (Vec::new(), Vec::new());
        for (index, node) in self.nodes.iter().enumerate() {
            if node.answers() {
                ids.push(i32::try_from(node_id(index)).unwrap_or(i32::MAX));
                views.push(node.metadata().await?);
            }
        }
        match ids.is_empty() {
            true => Err("no broker runs".to_owned()),
            false => Ok((ids, views)),
        }
    }

    async fn probe(&self) -> Result<(), String> {
        let (running, views) = self.views().await?;
        for (id, view) in running.iter().zip(&views) {
            let known = &view.brokers;
            if !running.iter().all(|other| known.contains(other)) {
                return Err(format!("broker {id} knows {known:?} only, of {running:?}"));
            }
            for Partition { topic, index, leader, replicas, in_sync } in &view.partitions {
                if !running.contains(leader) {
                    return Err(format!("{topic} {index} is led by {leader}, which does not run"));
                }
                let late = |replica: &&i32| running.contains(replica) && !in_sync.contains(replica);
                if let Some(late) = replicas.iter().find(late) {
                    return Err(format!("{late} has not caught up with {topic} {index}"));
                }
            }
        }
        Ok(())
    }

    async fn leader(&self, topic: &str, partition: i32) -> Result<usize, String> {
        let (running, views) = self.views().await?;
        let known = views.iter().flat_map(|view| &view.partitions);
        let mut leaders =
            known.filter(|p| p.topic == topic && p.index == partition).map(|p| p.leader);
        match leaders.next() {
            // Until all agree, an older view may come first.
            Some(first) if running.contains(&first) && leaders.all(|other| other == first) => {
                usize::try_from(first)
                    .ok()
                    .and_then(|id| id.checked_sub(node_id(0)))
                    .ok_or_else(|| format!("broker {first} is not of this cluster"))
            }
            Some(leader) => Err(format!("{leader} leads, does not run or is not agreed on")),
            None => Err(format!("nobody knows {topic} {partition}")),
        }
    }
}
