use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::net::TcpStream;

use super::KafkaBuilder;
use super::container;
use super::install::{Install, install};
use super::metadata::{self, Metadata};
use super::properties::{Properties, node_id};
use super::security::Stores;
use crate::container::Container;
use crate::engine::Engine;
use crate::guard::RunDirectory;
use crate::port::Port;
use crate::process::Process;
use crate::{Certificates, Error, docker, prepare};

/// How long a broker may take to become ready or to stop.
const LIMIT: Duration = Duration::from_secs(180);

/// A Kafka broker of this process, on ports of its own, with its fault controls.
///
/// It is a process or a container, as [`discover`](crate::discover) says, and its own controller (KRaft, combined mode) and, alone, keeps one replica of
/// everything. Dropping it kills the broker and removes its directory. The
/// controls take `&self`, so that one broker can be shared; they are not meant to
/// race each other.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use test_brokers::Kafka;
/// let kafka = Kafka::builder().config("num.partitions=4").start().await?;
/// println!("{}", kafka.bootstrap());
/// kafka.kill();
/// kafka.restart().await?; // the same port, the same store
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Kafka {
    // Dropped first: the directory must not go before the process.
    engine: Engine,
    /// None in a container, which has its own.
    install: Option<Install>,
    full_speed: bool,
    version: OnceLock<String>,
    url: String,
    id: i32,
    client: Port,
    internal: Port,
    /// None in a cluster, which has them all.
    _controller: Option<Port>,
    certificates: Option<Certificates>,
    directory: RunDirectory,
}

/// The place of a broker in a cluster: its index, and all controllers' ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) index: usize,
    pub(super) all: &'a [u16],
}

impl Kafka {
    /// Starts a broker and waits until it is ready.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// A broker with other options.
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// Prepares all that a broker needs, without starting it.
    pub(super) async fn create(
        options: &KafkaBuilder,
        member: Option<Member<'_>>,
    ) -> Result<Self, Error> {
        // The members of a cluster share ports that one container does not have.
        let image = match member {
            Some(_) => None,
            None => docker::kafka().await?,
        };
        let name = match member {
            Some(Member { index, .. }) => format!("kafka-n{index}"),
            None => "kafka".to_owned(),
        };
        let directory = RunDirectory::create(&name)?;
        let (client, internal) = (Port::take()?, Port::take()?);
        let controller = match member {
            Some(_) => None,
            None => Some(Port::take()?),
        };
        let alone = controller.as_ref().map(Port::number);
        let Member { index, all } = member.unwrap_or(Member { index: 0, all: alone.as_slice() });
        let store = match &options.store {
            Some(store) if member.is_some() => store.join(&name),
            Some(store) => store.clone(),
            None => directory.path().join("store"),
        };
        let certificates = match options.security.tls {
            Some(_) => Some(Certificates::create(&directory.path().join("tls"))?),
            None => None,
        };
        let stores = match options.security.tls.zip(certificates.as_ref()) {
            Some((tls, made)) => Some(Stores::create(&directory.path().join("tls"), tls, made)?),
            None => None,
        };
        let mut text = Properties {
            index,
            controllers: all,
            client: client.number(),
            advertised: options.advertised.unwrap_or(client.number()),
            internal: internal.number(),
            address: if image.is_some() { "0.0.0.0" } else { "127.0.0.1" },
            protocol: options.security.protocol(),
            store: &store,
        }
        .to_text();
        text.push_str(&options.security.properties(stores.as_ref()));
        text.push_str(&options.extra);
        let file = directory.path().join("server.properties");
        fs::write(&file, text).map_err(Error::io("cannot write", file))?;
        let users = options.security.format_arguments();
        let log = directory.path().join("kafka.log");
        let (engine, install) = match image {
            None => {
                let install = install().await?;
                let path = directory.path().to_owned();
                let format =
                    move || install.format(&store, node_id(index), &path, &users).map(|()| install);
                let install = prepare::blocking(format).await?;
                (Engine::Process(Process::new(name, log)), Some(install))
            }
            Some(image) => {
                let ports = vec![client.number(), internal.number()];
                let path = directory.path();
                let full_speed = options.full_speed;
                let recipe = container::recipe(image, path, &store, &users, ports, full_speed);
                (Engine::Container(Container::new(name, log, recipe)), None)
            }
        };
        Ok(Self {
            engine,
            install,
            full_speed: options.full_speed,
            version: OnceLock::new(),
            url: format!("kafka://127.0.0.1:{}", client.number()),
            id: i32::try_from(node_id(index)).unwrap_or(i32::MAX),
            client,
            internal,
            _controller: controller,
            certificates,
            directory,
        })
    }

    /// Starts the process and waits until it is ready.
    pub(super) async fn launch(&self) -> Result<(), Error> {
        self.spawn()?;
        self.wait().await
    }

    pub(super) fn spawn(&self) -> Result<(), Error> {
        let (directory, full_speed) = (self.directory.path(), self.full_speed);
        let broker = |install: &Install| install.broker(directory, full_speed);
        // A container has its command already.
        self.engine.start(|| self.install.as_ref().map_or_else(|| Command::new("java"), broker))
    }

    pub(super) async fn wait(&self) -> Result<(), Error> {
        self.engine.ready(LIMIT, || self.probe()).await?;
        let version = match self.engine.image() {
            None => prepare::KAFKA_VERSION.to_owned(),
            Some(_) => container::version(self.directory.path())?,
        };
        // Restarted from the same program, it cannot be another one.
        let _ = self.version.set(version);
        Ok(())
    }

    /// One attempt to see the broker registered and open to clients.
    async fn probe(&self) -> Result<(), String> {
        if !self.metadata().await?.brokers.contains(&self.id) {
            return Err("the broker is not registered yet".to_owned());
        }
        let connected = TcpStream::connect(("127.0.0.1", self.port())).await;
        connected.map(drop).map_err(|error| format!("port {}: {error}", self.port()))
    }

    /// What the broker knows of the cluster, or what went wrong.
    pub(super) async fn metadata(&self) -> Result<Metadata, String> {
        let port = self.internal.number();
        metadata::ask(port).await.map_err(|error| format!("no metadata on port {port}: {error}"))
    }

    /// Whether it runs and is not frozen.
    pub(super) fn answers(&self) -> bool {
        self.engine.answers()
    }

    /// Where clients connect: `kafka://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What Kafka clients call `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        self.url.trim_start_matches("kafka://")
    }

    /// The port that clients connect to, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.client.number()
    }

    /// The version of its jars.
    pub fn version(&self) -> &str {
        self.version.get().map_or("unknown", String::as_str)
    }

    /// The image that it was started from, if it runs in a container.
    pub fn image(&self) -> Option<&str> {
        self.engine.image()
    }

    /// The certificates, if it was started with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// A directory for files that are to go away with the broker.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The broker's log.
    pub fn log(&self) -> &Path {
        self.engine.log()
    }

    /// The process id on this machine, unless it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.engine.pid()
    }

    /// Kills the broker at once, as a crash would (SIGKILL). Does nothing if it
    /// has ended.
    pub fn kill(&self) {
        self.engine.kill();
    }

    /// Freezes the broker (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.engine.pause()
    }

    /// Lets a frozen broker go on (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.engine.resume()
    }

    /// Stops the broker in order (SIGTERM) and waits until it has ended. Does
    /// nothing if it has.
    pub async fn stop(&self) -> Result<(), Error> {
        self.engine.stop(LIMIT).await
    }

    /// Starts the broker again, on the same ports and the same store, and waits
    /// until it is ready. One that runs, or is frozen, is stopped in order first:
    /// for a crash, call [`kill`](Self::kill) before.
    ///
    /// A member of a cluster needs most of the others to become ready: where they
    /// are down too, restart them at once (`tokio::try_join!`). It is ready before it
    /// has caught up with them; see [`KafkaCluster::ready`](super::KafkaCluster::ready).
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }
}
