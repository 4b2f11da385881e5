//! The transport: one producer, one consumer per subscription.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eventbus_core::{
    BusConfig, Capabilities, Envelope, Error, Health, HealthStatus, RawTopics, SubscribeOptions,
    Topic, TopicFilter,
    backend::{Outgoing, Transport, Verdicts},
};

use crate::{
    KafkaConfig, SCHEME,
    error::error,
    provision::{Topics, list},
    publish::{GRACE, Producer, Publisher},
    raw,
    subscribe::{self, KafkaSource, Running},
};

/// How long a question about the health may take.
const HEALTH: Duration = Duration::from_millis(900);

/// The transport behind `kafka://` URLs.
pub struct KafkaTransport {
    config: KafkaConfig,
    publisher: Publisher,
    topics: Topics,
    raw: RawTopics,
    running: Mutex<Vec<Running>>,
}

impl KafkaTransport {
    /// Connects: resolves when a broker has answered.
    ///
    /// # Errors
    /// `Unavailable` when none does within `connect_timeout`, `Unauthorized`, `InvalidConfig`.
    pub async fn connect(
        config: KafkaConfig,
        bus: &BusConfig,
        verdicts: Verdicts,
    ) -> Result<Self, Error> {
        config.validate()?;
        let publisher = Publisher::start(&config, bus, verdicts)?;
        let topics = Topics::new(config.clone(), bus.provision);
        let (raw, running) = (bus.raw.clone(), Mutex::default());
        let transport = Self { config, publisher, topics, raw, running };
        match list(&transport.publisher, transport.config.connect_timeout).await {
            Ok(_) => Ok(transport),
            Err(error) => {
                transport.end(Instant::now()).await;
                Err(error)
            }
        }
    }

    /// The configuration that it was connected with.
    #[must_use]
    pub fn config(&self) -> &KafkaConfig {
        &self.config
    }

    /// Gives `use_it` the producer, for what the bus does not offer (metadata, watermarks,
    /// statistics). `None` while a new one is being made and after the end. What is sent by it
    /// directly is not known to the bus: its verdict would be taken for that of an envelope.
    pub fn with_producer<R>(&self, use_it: impl FnOnce(&Producer) -> R) -> Option<R> {
        self.publisher.producer().map(|producer| use_it(&producer))
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end(&self, deadline: Instant) {
        self.publisher.end(deadline);
        // Kept until all have ended: this may be cancelled and called again.
        let running = self.running().clone();
        for running in &running {
            running.end();
        }
        for running in &running {
            if !running.ended(deadline.max(Instant::now()) + GRACE).await {
                tracing::warn!("librdkafka is still closing a consumer; its threads end later");
            }
        }
        self.publisher.ended(deadline.max(Instant::now())).await;
        self.running().clear();
        if let Some(admin) = self.topics.take_admin() {
            let _ = tokio::task::spawn_blocking(move || drop(admin)).await;
        }
    }
}

impl Transport for KafkaTransport {
    type Route = Topic;
    type Source = KafkaSource;

    fn backend(&self) -> &'static str {
        SCHEME
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(self.config.max_message_bytes);
        capabilities.durable = true;
        capabilities.ordered_across_reconnect = true;
        capabilities.native_retry = true;
        capabilities.per_key_across_group = true;
        capabilities.start_at_time = true;
        capabilities
    }

    async fn resolve(&self, topic: &Topic) -> Result<Topic, Error> {
        self.topics.find(&self.publisher, topic).await?;
        Ok(topic.clone())
    }

    fn check_raw(&self, _: &Topic, envelope: &Envelope) -> Result<(), Error> {
        raw::check(envelope)
    }

    fn send(&self, topic: &Topic, outgoing: Outgoing<'_>) {
        self.publisher.send(topic, outgoing);
    }

    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<KafkaSource, Error> {
        if let Some(topic) = filter.as_topic() {
            self.topics.find_for_reading(&self.publisher, &topic).await?;
        }
        let (source, running, opening) =
            subscribe::start(&self.config, filter, options, &self.raw)?;
        {
            let mut all = self.running();
            all.retain(|running| !running.has_ended());
            all.push(running);
        }
        // Dropped meanwhile, the source ends its thread.
        let gone = || Err(error(eventbus_core::ErrorKind::Unexpected, "the thread has ended"));
        opening.await.unwrap_or_else(|_| gone())?;
        Ok(source)
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.topics.ensure(&self.publisher, topic).await
    }

    async fn health(&self) -> Health {
        match list(&self.publisher, HEALTH).await {
            Ok(_) => Health::healthy(),
            Err(error) => Health::new(HealthStatus::Unavailable).with_problem(error.to_string()),
        }
    }

    async fn shutdown(&self, deadline: Instant) {
        self.end(deadline).await;
    }
}

impl Drop for KafkaTransport {
    fn drop(&mut self) {
        self.publisher.end(Instant::now());
        for running in std::mem::take(&mut *self.running()) {
            running.end();
        }
        if let Some(admin) = self.topics.take_admin() {
            // Dropping it waits for its threads.
            let _ = std::thread::Builder::new().spawn(move || drop(admin));
        }
    }
}

impl fmt::Debug for KafkaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaTransport")
            .field("servers", &self.config.servers)
            .field("publisher", &self.publisher)
            .finish_non_exhaustive()
    }
}
