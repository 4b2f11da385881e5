//! One nats-server behind a link, one on a small disk, or three as a cluster.

use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use async_trait::async_trait;
use eventbus_conformance::{Failure, Harness, Request, Result, within};
use eventbus_core::{Error, EventBus, Topic};
use eventbus_nats::async_nats;
use serde_json::{Value, json};
use test_brokers::{Nats, NatsCluster};
use tokio::sync::Mutex;

use super::{disk::SmallDisk, link::Link, site::Site};

/// A silent connection is noticed soon.
const SOON: &str = "ping_interval=500ms&connect_timeout=2s";
const STREAM: &str = "EVENTBUS";
/// How much more a stream takes that may not grow any more.
const LITTLE_BYTES: u64 = 16 << 10;
const DISK_MEBIBYTES: u32 = 32;

enum Servers {
    One(Box<Nats>),
    Cluster(NatsCluster),
}

/// A NATS broker and what can be done to it.
pub(crate) struct NatsSite {
    name: &'static str,
    parameters: String,
    servers: Servers,
    link: Option<Link>,
    disk: Option<SmallDisk>,
    /// The stream's configuration before it was limited.
    unlimited: Mutex<Option<Value>>,
}

impl NatsSite {
    /// One server behind a link.
    pub(crate) async fn linked(name: &'static str, parameters: &str) -> Result<Self> {
        let server = Nats::start().await?;
        let link = Link::to((Ipv4Addr::LOCALHOST, server.port()).into()).await?;
        let site = Self::new(name, parameters, Servers::One(Box::new(server)));
        Ok(Self { link: Some(link), ..site })
    }

    /// One server whose store is on a disk that can be filled.
    pub(crate) async fn on_small_disk(name: &'static str, parameters: &str) -> Result<Self> {
        let disk = SmallDisk::mount(DISK_MEBIBYTES)?;
        let server = Nats::builder().jetstream_dir(disk.path()).start().await?;
        let site = Self::new(name, parameters, Servers::One(Box::new(server)));
        Ok(Self { disk: Some(disk), ..site })
    }

    /// Three servers with three replicas.
    pub(crate) async fn cluster(name: &'static str, parameters: &str) -> Result<Self> {
        let cluster = Nats::builder().start_cluster(3).await?;
        let parameters = format!("replicas=3&{parameters}");
        Ok(Self::new(name, &parameters, Servers::Cluster(cluster)))
    }

    fn new(name: &'static str, parameters: &str, servers: Servers) -> Self {
        let parameters = format!("{SOON}&{parameters}");
        let unlimited = Mutex::default();
        Self { name, parameters, servers, link: None, disk: None, unlimited }
    }

    fn server(&self, index: usize) -> &Nats {
        match &self.servers {
            Servers::One(server) => server,
            Servers::Cluster(cluster) => cluster.node(index % cluster.nodes().len()),
        }
    }

    fn all(&self) -> &[Nats] {
        match &self.servers {
            Servers::One(server) => std::slice::from_ref(server),
            Servers::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// Calls the JetStream API, around the link.
    async fn api(&self, call: &str, body: &Value) -> Result<Value> {
        let client = async_nats::connect(self.server(0).url()).await?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = client.request(format!("$JS.API.{call}"), body.into()).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        match answer.get("error") {
            None => Ok(answer),
            Some(error) => Err(Failure::new(format!("{call}: {error}"))),
        }
    }
}

#[async_trait]
impl Harness for NatsSite {
    fn name(&self) -> &str {
        self.name
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        crate::registry::connect(&self.url(), request).await
    }
}

#[async_trait]
impl Site for NatsSite {
    fn url(&self) -> String {
        let servers = match (&self.servers, &self.link) {
            (Servers::One(_), Some(link)) => format!("nats://127.0.0.1:{}", link.port()),
            (Servers::One(server), None) => server.url().to_owned(),
            (Servers::Cluster(cluster), _) => cluster.url(),
        };
        format!("{servers}?{}", self.parameters)
    }

    fn servers(&self) -> usize {
        self.all().len()
    }

    fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    async fn diagnose(&self) -> String {
        let look = async {
            let stream = self.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null).await?;
            let all = self.api(&format!("CONSUMER.LIST.{STREAM}"), &Value::Null).await?;
            let mut text = format!("stream: {} {}", stream["state"], stream["cluster"]);
            for consumer in all["consumers"].as_array().into_iter().flatten() {
                let _ = write!(
                    text,
                    "\nconsumer {}: delivered {}, floor {}, {} unsettled, {} redelivered, {} \
                     waiting, {} pending",
                    consumer["name"],
                    consumer["delivered"],
                    consumer["ack_floor"],
                    consumer["num_ack_pending"],
                    consumer["num_redelivered"],
                    consumer["num_waiting"],
                    consumer["num_pending"]
                );
            }
            Result::<_>::Ok(text)
        };
        look.await.unwrap_or_else(|failure| failure.to_string())
    }

    fn kill(&self, server: usize) -> Result {
        self.server(server).kill();
        Ok(())
    }

    async fn start_missing(&self) -> Result {
        for server in self.all().iter().filter(|server| server.pid().is_none()) {
            server.restart().await?;
        }
        self.ready().await
    }

    async fn restart(&self, server: usize) -> Result {
        self.server(server).restart().await?;
        self.ready().await
    }

    fn freeze(&self, server: usize) -> Result {
        Ok(self.server(server).pause()?)
    }

    fn thaw(&self, server: usize) -> Result {
        Ok(self.server(server).resume()?)
    }

    async fn leader(&self, _: &Topic) -> Result<usize> {
        match &self.servers {
            Servers::One(_) => Ok(0),
            Servers::Cluster(cluster) => Ok(cluster.leader_of(STREAM).await?),
        }
    }

    async fn delete(&self, _: &Topic) -> Result {
        self.api(&format!("STREAM.DELETE.{STREAM}"), &Value::Null).await.map(drop)
    }

    async fn limit(&self, _: &Topic, on: bool) -> Result {
        let mut unlimited = self.unlimited.lock().await;
        let config = if on {
            let info = self.api(&format!("STREAM.INFO.{STREAM}"), &Value::Null).await?;
            let mut config = info["config"].clone();
            *unlimited = Some(config.clone());
            let bytes = info["state"]["bytes"].as_u64().unwrap_or_default();
            config["max_bytes"] = json!(bytes + LITTLE_BYTES);
            config["discard"] = json!("new");
            config
        } else {
            unlimited.take().ok_or_else(|| Failure::new("the stream was not limited"))?
        };
        self.api(&format!("STREAM.UPDATE.{STREAM}"), &config).await.map(drop)
    }

    fn fill_disk(&self) -> Result {
        Ok(self.disk()?.fill()?)
    }

    /// A server that has run out of space turns JetStream off until it is started again.
    async fn free_disk(&self) -> Result {
        self.disk()?.free()?;
        self.restart(0).await
    }
}

impl NatsSite {
    fn disk(&self) -> Result<&SmallDisk> {
        self.disk.as_ref().ok_or_else(|| Failure::new("this broker has no small disk"))
    }

    async fn ready(&self) -> Result {
        if let Servers::Cluster(cluster) = &self.servers {
            within("the cluster", cluster.ready()).await??;
        }
        Ok(())
    }
}
