//! One Kafka broker behind a link, one on a small disk, or three as a cluster.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eventbus_conformance::{Failure, Harness, Request, Result, within};
use eventbus_core::{Error, EventBus, Topic};
use eventbus_kafka::rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use test_brokers::{Kafka, KafkaCluster};

use super::{disk::SmallDisk, link::Link, site::Site};

/// A silent connection and a dead member are noticed soon: six seconds are the least that a
/// broker allows for a member.
const SOON: &str = "partitions=4&connect_timeout=20s&rdkafka.socket.timeout.ms=2000&rdkafka.request.timeout.ms=2000&\
                    rdkafka.reconnect.backoff.max.ms=500&rdkafka.session.timeout.ms=6000&\
                    rdkafka.heartbeat.interval.ms=500";
/// Less than any message has.
const NOTHING_FITS: &str = "16";
/// What a broker does not take away from a full disk it cannot start with.
const DISK_MEBIBYTES: u32 = 160;
const LIMIT: Duration = Duration::from_secs(30);
/// Lines of a broker's log that are shown.
const LINES: usize = 20;

enum Brokers {
    One(Box<Kafka>),
    Cluster(KafkaCluster),
}

/// A Kafka broker, or three, and what can be done to them.
pub(crate) struct KafkaSite {
    name: &'static str,
    brokers: Brokers,
    link: Option<Link>,
    disk: Option<SmallDisk>,
}

impl KafkaSite {
    /// One broker behind a link.
    pub(crate) async fn linked(name: &'static str) -> Result<Self> {
        let link = Link::open().await?;
        let broker = Kafka::builder().behind(link.port()).start().await?;
        link.lead_to((Ipv4Addr::LOCALHOST, broker.port()).into());
        let brokers = Brokers::One(Box::new(broker));
        Ok(Self { name, brokers, link: Some(link), disk: None })
    }

    /// One broker whose store is on a disk that can be filled.
    pub(crate) async fn on_small_disk(name: &'static str) -> Result<Self> {
        let disk = SmallDisk::mount(DISK_MEBIBYTES)?;
        let broker = Kafka::builder().store_dir(disk.path().join("store")).start().await?;
        let brokers = Brokers::One(Box::new(broker));
        Ok(Self { name, brokers, link: None, disk: Some(disk) })
    }

    /// Three brokers with three replicas, of which two must have what is acknowledged.
    pub(crate) async fn cluster(name: &'static str) -> Result<Self> {
        let brokers = Brokers::Cluster(KafkaCluster::start(3).await?);
        Ok(Self { name, brokers, link: None, disk: None })
    }

    fn all(&self) -> &[Kafka] {
        match &self.brokers {
            Brokers::One(broker) => std::slice::from_ref(broker),
            Brokers::Cluster(cluster) => cluster.nodes(),
        }
    }

    fn broker(&self, index: usize) -> &Kafka {
        &self.all()[index % self.all().len()]
    }

    fn disk(&self) -> Result<&SmallDisk> {
        self.disk.as_ref().ok_or_else(|| Failure::new("this broker has no small disk"))
    }

    async fn ready(&self) -> Result {
        if let Brokers::Cluster(cluster) = &self.brokers {
            within("the cluster", cluster.ready()).await??;
        }
        Ok(())
    }

    fn servers_of_url(&self) -> String {
        match (&self.brokers, &self.link) {
            (Brokers::One(_), Some(link)) => format!("127.0.0.1:{}", link.port()),
            (Brokers::One(broker), None) => broker.bootstrap().to_owned(),
            (Brokers::Cluster(cluster), _) => cluster.bootstrap(),
        }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        let mut client = ClientConfig::new();
        Ok(client.set("bootstrap.servers", self.servers_of_url()).create()?)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

/// What Kafka says to each of the things that were asked for.
type Answers<T, N> = Vec<Result<T, (N, RDKafkaErrorCode)>>;

/// What came out for the one thing that was asked for.
fn first<T, N>(results: Result<Answers<T, N>, KafkaError>) -> Result {
    match results?.pop() {
        None | Some(Ok(_)) => Ok(()),
        Some(Err((_, code))) => Err(Failure::new(code.to_string())),
    }
}

#[async_trait]
impl Harness for KafkaSite {
    fn name(&self) -> &str {
        self.name
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        crate::registry::connect(&self.url(), request).await
    }
}

#[async_trait]
impl Site for KafkaSite {
    fn url(&self) -> String {
        format!("kafka://{}?{SOON}", self.servers_of_url())
    }

    fn servers(&self) -> usize {
        self.all().len()
    }

    fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    async fn diagnose(&self) -> String {
        let mut text = String::new();
        for broker in self.all() {
            let log = tokio::fs::read(broker.log()).await.unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let bad = |line: &&str| line.contains(" ERROR ") || line.contains(" FATAL ");
            let lines: Vec<&str> = log.lines().rev().filter(bad).take(LINES).collect();
            for line in lines.iter().rev() {
                text.push_str(&format!("{}: {line}\n", broker.port()));
            }
        }
        text
    }

    fn kill(&self, server: usize) -> Result {
        self.broker(server).kill();
        Ok(())
    }

    async fn start_missing(&self) -> Result {
        for broker in self.all().iter().filter(|broker| broker.pid().is_none()) {
            broker.restart().await?;
        }
        self.ready().await
    }

    async fn restart(&self, server: usize) -> Result {
        self.broker(server).restart().await?;
        self.ready().await
    }

    fn freeze(&self, server: usize) -> Result {
        Ok(self.broker(server).pause()?)
    }

    fn thaw(&self, server: usize) -> Result {
        Ok(self.broker(server).resume()?)
    }

    async fn leader(&self, topic: &Topic) -> Result<usize> {
        match &self.brokers {
            Brokers::One(_) => Ok(0),
            Brokers::Cluster(cluster) => Ok(cluster.leader_of(topic.as_str(), 0).await?),
        }
    }

    async fn delete(&self, topic: &Topic) -> Result {
        first(self.admin()?.delete_topics(&[topic.as_str()], &options()).await)
    }

    /// A topic of Kafka cannot be full, but it can refuse each message for its size.
    async fn limit(&self, topic: &Topic, on: bool) -> Result {
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic.as_str()));
        let config = if on { config.set("max.message.bytes", NOTHING_FITS) } else { config };
        first(self.admin()?.alter_configs([&config], &options()).await)
    }

    fn fill_disk(&self) -> Result {
        Ok(self.disk()?.fill()?)
    }

    /// A broker that cannot write ends itself.
    async fn free_disk(&self) -> Result {
        self.broker(0).kill();
        self.disk()?.free()?;
        self.restart(0).await
    }
}
