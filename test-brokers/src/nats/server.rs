use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use super::builder::NatsBuilder;
use super::config::{Cluster, Config};
use crate::container::{Container, Recipe};
use crate::engine::Engine;
use crate::guard::RunDirectory;
use crate::port::Port;
use crate::process::Process;
use crate::tls::Certificates;
use crate::{Error, docker, http, prepare};

/// How long a server may take to become ready or to stop.
const LIMIT: Duration = Duration::from_secs(30);

/// A nats-server of this process, on ports of its own, with its fault controls.
///
/// It is a process or a container, as [`discover`](crate::discover) says.
/// Dropping it kills the server and removes its directory. The controls take
/// `&self`, so that one server can be shared; they are not meant to race each
/// other.
#[derive(Debug)]
pub struct Nats {
    // Dropped first: the directory must not go before the process.
    engine: Engine,
    program: Option<PathBuf>,
    client: Port,
    monitor: Port,
    url: String,
    version: OnceLock<String>,
    certificates: Option<Certificates>,
    /// What `/healthz` must be asked for, with JetStream.
    health: Option<&'static str>,
    directory: RunDirectory,
}

/// The place of a server in a cluster: its route port and everybody's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) port: u16,
    pub(super) all: &'a [u16],
}

impl Nats {
    /// Starts a server with JetStream and waits until it is ready.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// A server with other options.
    pub fn builder() -> NatsBuilder {
        NatsBuilder::new()
    }

    /// Prepares all that a server needs, without starting it.
    pub(super) async fn create(
        options: &NatsBuilder,
        name: &str,
        member: Option<Member<'_>>,
    ) -> Result<Self, Error> {
        // The members of a cluster share ports that one container does not have.
        let image = match member {
            Some(_) => None,
            None => docker::nats().await?,
        };
        let program = match image {
            Some(_) => None,
            None => Some(prepare::nats_server().await?),
        };
        let directory = RunDirectory::create(name)?;
        let client = Port::take()?;
        let monitor = Port::take()?;
        let certificates = match options.tls {
            Some(_) => Some(Certificates::create(&directory.path().join("tls"))?),
            None => None,
        };
        let store = match &options.store {
            Some(store) if member.is_some() => store.join(name),
            Some(store) => store.clone(),
            None => directory.path().join("store"),
        };
        let config = Config {
            name,
            address: if image.is_some() { "0.0.0.0" } else { "127.0.0.1" },
            client_port: client.number(),
            monitor_port: monitor.number(),
            store: options.jetstream.then_some(store.as_path()),
            tls: options.tls.zip(certificates.as_ref()),
            auth: &options.auth,
            cluster: member.map(|Member { port, all }| Cluster { port, all }),
            extra: &options.extra,
        };
        let file = directory.path().join("nats.conf");
        fs::write(&file, config.to_text()).map_err(Error::io("cannot write", &file))?;
        let scheme = if options.tls.is_some() { "tls" } else { "nats" };
        let (label, log) = (format!("nats-server {name}"), directory.path().join("nats.log"));
        let engine = match image {
            None => Engine::Process(Process::new(label, log)),
            Some(image) => {
                let file = |path: &Path| path.to_string_lossy().into_owned();
                let config = directory.path().join("nats.conf");
                let recipe = Recipe {
                    image,
                    entrypoint: None,
                    arguments: vec!["-c".into(), file(&config), "-l".into(), file(&log)],
                    directories: vec![directory.path().to_owned(), store],
                    ports: vec![client.number(), monitor.number()],
                };
                Engine::Container(Container::new(label, log, recipe))
            }
        };
        Ok(Self {
            engine,
            program,
            url: format!("{scheme}://127.0.0.1:{}", client.number()),
            client,
            monitor,
            version: OnceLock::new(),
            certificates,
            // A member cannot wait for the others, which may be down.
            health: options.jetstream.then_some(match member {
                Some(_) => "/healthz?js-enabled-only=true",
                None => "/healthz",
            }),
            directory,
        })
    }

    /// Starts the process and waits until it is ready.
    pub(super) async fn launch(&self) -> Result<(), Error> {
        self.engine.start(|| {
            let mut command = Command::new(self.program.as_deref().unwrap_or(Path::new("")));
            command
                .arg("-c")
                .arg(self.directory.path().join("nats.conf"))
                .current_dir(self.directory.path());
            command
        })?;
        let version = self.engine.ready(LIMIT, || self.probe()).await?;
        // Restarted from the same program, it cannot be another one.
        let _ = self.version.set(version);
        Ok(())
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`, or `tls://…`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port that clients connect to, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.client.number()
    }

    /// The port of the monitoring endpoints, such as `/varz` and `/jsz`.
    pub fn monitor_port(&self) -> u16 {
        self.monitor.number()
    }

    /// What the server says its version is.
    pub fn version(&self) -> &str {
        self.version.get().map_or("unknown", String::as_str)
    }

    /// The certificates, if it was started with TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// A directory for files that are to go away with the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        self.engine.log()
    }

    /// The image that it was started from, if it runs in a container.
    pub fn image(&self) -> Option<&str> {
        self.engine.image()
    }

    /// The process id on this machine, unless it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.engine.pid()
    }

    /// Kills the server at once, as a crash would (SIGKILL). Does nothing if it
    /// has ended.
    pub fn kill(&self) {
        self.engine.kill();
    }

    /// Freezes the server (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.engine.pause()
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn resume(&self) -> Result<(), Error> {
        self.engine.resume()
    }

    /// Stops the server in order (SIGTERM) and waits until it has ended. Does
    /// nothing if it has.
    pub async fn stop(&self) -> Result<(), Error> {
        self.engine.stop(LIMIT).await
    }

    /// Starts the server again, on the same ports and the same store, and waits
    /// until it is ready. One that runs, or is frozen, is stopped in order first:
    /// for a crash, call [`kill`](Self::kill) before.
    ///
    /// A member of a cluster is ready before it has caught up with the others; see
    /// [`NatsCluster::ready`](super::NatsCluster::ready).
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    /// One attempt to see the server ready: its version, or what is missing.
    async fn probe(&self) -> Result<String, String> {
        let info = self
            .info()
            .await
            .map_err(|error| format!("no INFO on port {}: {error}", self.port()))?;
        if let Some(path) = self.health {
            match http::get(self.monitor_port(), path).await {
                Ok((200, _)) => {}
                Ok((status, body)) => return Err(format!("{path} says {status}: {body}")),
                Err(error) => return Err(format!("{path}: {error}")),
            }
        }
        let version = info["version"].as_str().unwrap_or("unknown");
        Ok(version.to_owned())
    }

    /// What the server says of itself to whoever connects.
    async fn info(&self) -> std::io::Result<Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        let json = line.strip_prefix("INFO ").unwrap_or_default();
        Ok(serde_json::from_str(json)?)
    }

    /// Whether it runs and is not frozen.
    pub(super) fn answers(&self) -> bool {
        self.engine.answers()
    }

    /// The answer of a monitoring endpoint, or what went wrong.
    pub(super) async fn monitor(&self, path: &str) -> Result<Value, String> {
        match http::get(self.monitor_port(), path).await {
            Ok((200, body)) => serde_json::from_str(&body).map_err(|error| error.to_string()),
            Ok((status, body)) => Err(format!("{path} says {status}: {body}")),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}
