//! The transport: what the engine sees of NATS.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use async_nats::{Client, Subject};
use eventbus_core::{
    BusConfig, Capabilities, Envelope, Error, Health, HealthStatus, RawTopics, SubscribeOptions,
    Topic, TopicFilter,
    backend::{Outgoing, OutgoingBatch, Transport, Verdicts},
};
use tokio::task::JoinHandle;

use crate::{
    FastIngest, SCHEME, Storage,
    acks::Matcher,
    atomic,
    config::NatsConfig,
    connection::{Connection, Link},
    error,
    fast::{self, Fast},
    inbox::Inboxes,
    message::{Route, RouteInfo},
    name,
    provision::Streams,
    publish::Ring,
    raw,
    writer::Writer,
};

/// What a message may need besides the envelope: the header with its id.
const HEADER_ROOM: usize = 1 << 10;
const HEALTH_PATIENCE: Duration = Duration::from_millis(800);

/// The NATS JetStream transport.
pub struct NatsTransport {
    pub(crate) connection: Arc<Connection>,
    pub(crate) streams: Arc<Streams>,
    ring: Arc<Ring>,
    pub(crate) raw: RawTopics,
    capabilities: Capabilities,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// One per source.
    pub(crate) sources: Mutex<Vec<JoinHandle<()>>>,
}

impl NatsTransport {
    pub(crate) async fn connect(
        config: NatsConfig,
        bus: &BusConfig,
        verdicts: Verdicts,
    ) -> Result<Self, Error> {
        let capacity = (2 * bus.max_in_flight).max(1 << 16);
        let strict = config.strict_order;
        let inboxes = Inboxes::new(&config.inbox_prefix);
        let connection = Arc::new(Connection::new(config, capacity));
        let link = connection.open().await?;
        let answers = Matcher::listen(&inboxes, &link).await?;
        let link = Arc::new(link);
        connection.check_jetstream(&link).await?;
        let setting = connection.config.fast_ingest;
        let batches = !strict && fast::is_possible(setting, &link.client.server_info().version)?;
        let takes_atomic =
            error::is_at_least(&link.client.server_info().version, atomic::OLDEST_SERVER);
        let streams =
            Arc::new(Streams::new(connection.clone(), bus.provision, batches, takes_atomic));
        let count = connection.config.streams.iter().count();
        let prefix = inboxes.of_batches();
        let fast = Fast::new(setting, &prefix, bus.max_in_flight, bus.ack_timeout, count);
        let key_header = &connection.config.raw_key_header;
        let ring =
            Ring::new(verdicts, bus.max_in_flight, bus.ack_timeout, strict, key_header, fast);
        let ring = Arc::new(ring);
        let capabilities = capabilities(&connection.config, &link.client, takes_atomic);
        connection.set_link(Some(link.clone()));
        let batch = bus.ack_batch_size;
        let matcher =
            Matcher::new(connection.clone(), ring.clone(), streams.clone(), inboxes.clone(), batch);
        let writer = Writer::new(ring.clone(), connection.links(), inboxes);
        let tasks = vec![tokio::spawn(matcher.run(link, answers)), tokio::spawn(writer.run())];
        Ok(Self {
            connection,
            streams,
            ring,
            raw: bus.raw.clone(),
            capabilities,
            tasks: Mutex::new(tasks),
            sources: Mutex::default(),
        })
    }

    /// The client of the present connection, for what only NATS has; `None` while there is no
    /// connection. Ask again rather than keep it: a lost connection is replaced by a new
    /// client. The connection stays open for as long as a clone exists.
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        self.connection.link().map(|link| link.client.clone())
    }

    fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        let mut tasks = take(&self.sources);
        tasks.extend(take(&self.tasks));
        tasks
    }
}

fn take(tasks: &Mutex<Vec<JoinHandle<()>>>) -> Vec<JoinHandle<()>> {
    std::mem::take(&mut tasks.lock().unwrap_or_else(PoisonError::into_inner))
}

fn capabilities(config: &NatsConfig, client: &Client, takes_atomic: bool) -> Capabilities {
    let mut can = Capabilities::new(client.max_payload().saturating_sub(HEADER_ROOM));
    can.durable = config.storage != Some(Storage::Memory);
    can.ordered_across_reconnect = config.strict_order || config.fast_ingest == FastIngest::Always;
    // The server may read a batch of a lost connection later, behind newer messages.
    can.atomic_batch = takes_atomic && !can.ordered_across_reconnect;
    can.max_atomic_batch = if can.atomic_batch { atomic::MOST } else { 0 };
    can.idempotent_publish = true;
    can.cumulative_ack = true;
    can.group_options_checked = true;
    can.start_at_time = true;
    can.shared_messages = true;
    can
}

impl Transport for NatsTransport {
    type Route = Route;
    type Source = crate::subscribe::NatsSource;

    fn backend(&self) -> &'static str {
        SCHEME
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn resolve(&self, topic: &Topic) -> Result<Route, Error> {
        let stream = self.streams.of(topic)?;
        let provided = self.streams.provide(stream).await?;
        let subject = name::subject(&self.connection.config.prefix, topic.as_str());
        Ok(Route(Arc::new(RouteInfo {
            topic: topic.clone(),
            subject: Subject::from(subject),
            stream,
            duplicate_window: provided.duplicate_window,
            batches: provided.batches,
            acknowledged_on: AtomicU64::new(0),
        })))
    }

    fn check_raw(&self, topic: &Topic, envelope: &Envelope) -> Result<(), Error> {
        raw::check(envelope, topic, &self.connection.config.raw_key_header)
    }

    fn send(&self, route: &Route, outgoing: Outgoing<'_>) {
        self.ring.send(route, outgoing);
    }

    fn send_atomic(&self, route: &Route, batch: OutgoingBatch<'_>) {
        self.ring.send_atomic(route, batch);
    }

    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<Self::Source, Error> {
        self.open_source(filter, options).await
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        let stream = self.streams.of(topic)?;
        self.streams.ensure(stream).await
    }

    async fn health(&self) -> Health {
        let Some(link) = self.connection.link() else {
            let trouble = self.connection.trouble();
            let problem = trouble.unwrap_or_else(|| error::not_connected().to_string());
            return Health::new(HealthStatus::Unavailable).with_problem(problem);
        };
        match tokio::time::timeout(HEALTH_PATIENCE, self.streams.problems(&link)).await {
            Ok(problems) => problems.into_iter().fold(Health::healthy(), Health::with_problem),
            Err(_) => Health::new(HealthStatus::Unavailable)
                .with_problem("the server does not answer within 800 ms"),
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.ring.close();
        self.connection.close();
        for mut source in take(&self.sources) {
            if tokio::time::timeout_at(deadline.into(), &mut source).await.is_err() {
                source.abort();
                let _ = source.await;
            }
        }
        let link = self.connection.link();
        if let Some(link) = &link {
            // What was acknowledged last must get out.
            let _ = tokio::time::timeout_at(deadline.into(), link.client.flush()).await;
        }
        for task in self.take_tasks() {
            task.abort();
            let _ = task.await;
        }
        self.connection.set_link(None);
        let ended = link.as_deref().and_then(Link::ended);
        drop(link);
        if let Some(ended) = ended {
            let until = deadline.min(Instant::now() + Duration::from_secs(1));
            let _ = tokio::time::timeout_at(until.into(), ended).await;
        }
    }
}

impl Drop for NatsTransport {
    fn drop(&mut self) {
        self.ring.close();
        for task in self.take_tasks() {
            task.abort();
        }
        self.connection.set_link(None);
    }
}

impl std::fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsTransport")
            .field("config", &self.connection.config)
            .finish_non_exhaustive()
    }
}
