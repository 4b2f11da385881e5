use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::install::{install, java};
use super::{metadata, properties};
use crate::guard::RunDirectory;
use crate::port::Port;
use crate::process::Process;
use crate::{Error, prepare};

/// How long a broker may take to become ready or to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// A Kafka broker of this process, on ports of its own, with its fault controls.
///
/// It is its own controller (KRaft, combined mode) and keeps one replica of
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
    process: Process,
    class_path: OsString,
    client: Port,
    _controller: Port,
    url: String,
    directory: RunDirectory,
}

/// Options of a [`Kafka`] broker.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing starts until `start`"]
pub struct KafkaBuilder {
    store: Option<PathBuf>,
    extra: String,
}

impl KafkaBuilder {
    /// Keeps the topics in `directory`, which is not removed.
    pub fn store_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// Appends lines to the broker's properties; a later line overrides an earlier
    /// one. Calling it again adds more.
    pub fn config(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Starts the broker and waits until it is ready.
    pub async fn start(self) -> Result<Kafka, Error> {
        let kafka = Kafka::create(&self).await?;
        kafka.launch().await?;
        Ok(kafka)
    }
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

    async fn create(options: &KafkaBuilder) -> Result<Self, Error> {
        let install = install().await?;
        let directory = RunDirectory::create("kafka")?;
        let client = Port::take()?;
        let controller = Port::take()?;
        let store = match &options.store {
            Some(store) => store.clone(),
            None => directory.path().join("store"),
        };
        install.format(&store)?;
        let mut text = properties::text(client.number(), controller.number(), &store);
        text.push_str(&options.extra);
        let file = directory.path().join("server.properties");
        fs::write(&file, text).map_err(Error::io("cannot write", file))?;
        Ok(Self {
            process: Process::new("Kafka".to_owned(), directory.path().join("kafka.log")),
            class_path: install.class_path(),
            url: format!("kafka://127.0.0.1:{}", client.number()),
            client,
            _controller: controller,
            directory,
        })
    }

    async fn launch(&self) -> Result<(), Error> {
        // As Kafka's own start script has them, but for the initial heap.
        let mut command = java(self.directory.path(), &self.class_path);
        command.args([
            "-server",
            "-Xmx1G",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:InitiatingHeapOccupancyPercent=35",
            "-XX:+ExplicitGCInvokesConcurrent",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        ]);
        command.args(["kafka.Kafka", "server.properties"]);
        self.process.start(command)?;
        self.process.ready(LIMIT, || self.probe()).await
    }

    async fn probe(&self) -> Result<(), String> {
        match metadata::has_broker(self.port()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the broker is not registered yet".to_owned()),
            Err(error) => Err(format!("no metadata on port {}: {error}", self.port())),
        }
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

    /// The version that was fetched.
    pub fn version(&self) -> &str {
        prepare::KAFKA_VERSION
    }

    /// The class path of Kafka's tools.
    pub fn class_path(&self) -> &std::ffi::OsStr {
        &self.class_path
    }

    /// A directory for files that are to go away with the broker.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The broker's log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The process id, unless it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Kills the broker at once, as a crash would (SIGKILL). Does nothing if it
    /// has ended.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Freezes the broker (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.pause()
    }

    /// Lets a frozen broker go on (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.process.resume()
    }

    /// Stops the broker in order (SIGTERM) and waits until it has ended. Does
    /// nothing if it has.
    pub async fn stop(&self) -> Result<(), Error> {
        self.process.stop(LIMIT).await
    }

    /// Starts the broker again, on the same ports and the same store, and waits
    /// until it is ready. One that runs, or is frozen, is stopped in order first:
    /// for a crash, call [`kill`](Self::kill) before.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }
}
