//! The connection to a server, and its replacement when it is lost.
//!
//! async-nats reconnects by itself, and then sends what was still queued while it has dropped
//! what it had buffered. Here a lost connection ends instead, with all that belongs to it, and
//! a new [`Link`] takes its place: so it is always clear what was sent over which connection.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, Event, ReconnectToServer, ServerAddr,
    rustls::crypto::{CryptoProvider, ring},
};
use eventbus_core::{Error, ErrorKind};
use tokio::sync::{broadcast, oneshot, watch};

use crate::{
    config::{NatsConfig, invalid},
    error::{self, Violation},
    tls,
};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Nobody listens there: where the client is sent instead of reconnecting.
const NOWHERE: &str = "127.0.0.1:0";
const VIOLATIONS: usize = 256;

/// One connection, from its handshake to its loss.
pub(crate) struct Link {
    pub(crate) client: Client,
    /// Grows from link to link.
    pub(crate) number: u64,
    /// Resolves when the client's own tasks have ended.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Link {
    pub(crate) fn ended(&self) -> Option<oneshot::Receiver<()>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(crate) type Links = watch::Receiver<Option<Arc<Link>>>;

/// What all parts of a bus know about its connection.
pub(crate) struct Connection {
    pub(crate) config: NatsConfig,
    subscription_capacity: usize,
    link: watch::Sender<Option<Arc<Link>>>,
    violations: broadcast::Sender<Violation>,
    trouble: Mutex<Option<String>>,
    closing: watch::Sender<bool>,
    /// Servers that the cluster told of.
    discovered: Mutex<Vec<String>>,
    next_server: AtomicUsize,
    next_number: AtomicU64,
}

impl Connection {
    pub(crate) fn new(config: NatsConfig, subscription_capacity: usize) -> Self {
        let next_server = AtomicUsize::new(uuid::Uuid::now_v7().as_u128() as usize);
        Self {
            config,
            subscription_capacity,
            link: watch::Sender::new(None),
            violations: broadcast::Sender::new(VIOLATIONS),
            trouble: Mutex::default(),
            closing: watch::Sender::new(false),
            discovered: Mutex::default(),
            next_server,
            next_number: AtomicU64::new(1),
        }
    }

    pub(crate) fn links(&self) -> Links {
        self.link.subscribe()
    }

    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    /// Publishes a new link to all parts, or its loss.
    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) {
        self.link.send_replace(link);
    }

    pub(crate) fn violations(&self) -> broadcast::Receiver<Violation> {
        self.violations.subscribe()
    }

    /// Turns true when the bus closes.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Why there is no connection, in words.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Tries each known server once. The error is that of the last one, but a refusal of the
    /// credentials tells more than a server that is down.
    pub(crate) async fn open(&self) -> Result<Link, Error> {
        let mut worst: Option<Error> = None;
        for server in self.servers() {
            match self.open_at(&server).await {
                Ok(link) => {
                    self.set_trouble(None);
                    return Ok(link);
                }
                Err(error) if worst.as_ref().is_some_and(|known| !known.is_temporary()) => {
                    tracing::debug!(%server, %error, "a server cannot be used");
                }
                Err(error) => worst = Some(error),
            }
        }
        Err(worst.unwrap_or_else(error::not_connected))
    }

    /// Tries until it succeeds.
    pub(crate) async fn reopen(&self) -> Link {
        let mut pause = FIRST_PAUSE;
        let lost = Instant::now();
        loop {
            match self.open().await {
                Ok(link) => {
                    tracing::info!(after = ?lost.elapsed(), "connected again");
                    return link;
                }
                Err(error) => {
                    self.set_trouble(Some(error.to_string()));
                    tracing::warn!(%error, retry_in = ?pause, "cannot connect");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn servers(&self) -> Vec<String> {
        let mut servers = self.config.servers.clone();
        let discovered = self.discovered.lock().unwrap_or_else(PoisonError::into_inner);
        for server in discovered.iter() {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        let first = self.next_server.fetch_add(1, Ordering::Relaxed) % servers.len();
        servers.rotate_left(first);
        servers
    }

    async fn open_at(&self, server: &str) -> Result<Link, Error> {
        let has_certificate = self.config.tls_cert.is_some();
        let connect_error = |failure| error::connect(server, &failure, has_certificate);
        let address = address(server)?;
        let (ended_sender, ended) = oneshot::channel();
        let options = self.options().await?;
        let options = self.watch_events(options, ended_sender);
        let client = options.connect(address).await.map_err(connect_error)?;
        let info = client.server_info();
        error::check_version(server, &info.version)?;
        // From here on a lost connection is lost.
        client
            .set_server_pool(vec![nowhere()?])
            .await
            .map_err(|_| error::not_connected().with_context("server", server))?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) = info.connect_urls;
        tracing::debug!(%server, version = %info.version, "connected");
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        Ok(Link { client, number, ended: Mutex::new(Some(ended)) })
    }

    fn watch_events(&self, options: ConnectOptions, ended: oneshot::Sender<()>) -> ConnectOptions {
        let violations = self.violations.clone();
        // Dropped together with the task that runs the callback.
        let ended = Arc::new(ended);
        options.event_callback(move |event| {
            let _alive = ended.clone();
            match event {
                Event::ServerError(problem) => {
                    let text = problem.to_string();
                    tracing::warn!(%problem, "the server reports an error");
                    if let Some(violation) = Violation::parse(&text) {
                        let _ = violations.send(violation);
                    }
                }
                Event::SlowConsumer(_) => {
                    tracing::error!("the client dropped a message that nobody took in time");
                }
                other => tracing::debug!(event = %other, "connection event"),
            }
            std::future::ready(())
        })
    }

    async fn options(&self) -> Result<ConnectOptions, Error> {
        let config = &self.config;
        let mut options = ConnectOptions::new()
            .name(&config.name)
            .connection_timeout(config.connect_timeout)
            .ping_interval(config.ping_interval)
            .custom_inbox_prefix(&config.inbox_prefix)
            .subscription_capacity(self.subscription_capacity)
            // Topics and prefix were checked.
            .skip_subject_validation(true)
            .ignore_discovered_servers()
            .require_tls(config.tls)
            .max_reconnects(1)
            .reconnect_to_server_callback(|servers, _| async move {
                let nowhere = servers.into_iter().find(|server| server.addr.port() == 0)?;
                Some(ReconnectToServer { addr: nowhere.addr, delay: Some(Duration::ZERO) })
            });
        if config.tls_ca.is_some() || config.tls_cert.is_some() {
            let files = config.clone();
            blocking(move || tls::check_files(&files)).await??;
        }
        // Only where the program has not chosen one: it is needed when several are linked.
        if CryptoProvider::get_default().is_none() {
            let _ = ring::default_provider().install_default();
        }
        if config.tls_first {
            options = options.tls_first();
        }
        if let Some(ca) = &config.tls_ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        self.authenticate(options).await
    }

    async fn authenticate(&self, options: ConnectOptions) -> Result<ConnectOptions, Error> {
        let config = &self.config;
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            return Ok(options.user_and_password(user.clone(), password.expose().to_owned()));
        }
        if let Some(token) = &config.token {
            return Ok(options.token(token.expose().to_owned()));
        }
        if let Some(path) = &config.credentials {
            // The text of the error may quote the file, so it is left out.
            return options.credentials_file(path).await.map_err(|failure| {
                unreadable("credentials", "no usable credentials file", path, &failure)
            });
        }
        if let Some(path) = &config.nkey {
            let file = path.clone();
            let seed = blocking(move || std::fs::read_to_string(file))
                .await?
                .map_err(|failure| unreadable("nkey", "no readable seed file", path, &failure))?;
            return Ok(options.nkey(seed.trim().to_owned()));
        }
        Ok(options)
    }
}

fn address(server: &str) -> Result<ServerAddr, Error> {
    format!("nats://{server}").parse().map_err(|_| {
        invalid("servers", "a server reads `host` or `host:port`, with IPv6 in brackets")
            .with_context("server", format!("{server:?}"))
    })
}

fn nowhere() -> Result<ServerAddr, Error> {
    address(NOWHERE)
}

fn unreadable(
    parameter: &'static str,
    message: &'static str,
    path: &std::path::Path,
    failure: &std::io::Error,
) -> Error {
    tls::unreadable(parameter, message, path).with_context("cause:", failure.kind())
}

/// Does what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|failure| {
        error::error(ErrorKind::Unexpected, "reading a file was broken off")
            .with_context("cause:", failure)
    })
}
