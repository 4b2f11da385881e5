//! From a URL to a bus: the registry of backends and the builder.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::{
    BusConfig, BusUrl, Error, ErrorKind, EventBus, FailureHandler, Provision, PublishFailure,
    RawTopics, RetryPolicy, TopicFilter, backend::Connector,
};

/// The backends that URLs can name.
#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    disabled: BTreeMap<&'static str, &'static str>,
}

impl Registry {
    /// No backends.
    #[must_use]
    pub const fn new() -> Self {
        Self { connectors: BTreeMap::new(), disabled: BTreeMap::new() }
    }

    /// Adds or replaces the backend of a URL scheme, written in lower case.
    pub fn register(&mut self, scheme: &'static str, connector: impl Connector) {
        self.disabled.remove(scheme);
        self.connectors.insert(scheme, Arc::new(connector));
    }

    /// Notes that `scheme` would exist with the Cargo feature `feature`, so that the error
    /// for such a URL can say so.
    pub fn disabled(&mut self, scheme: &'static str, feature: &'static str) {
        if !self.connectors.contains_key(scheme) {
            self.disabled.insert(scheme, feature);
        }
    }

    /// The registered schemes, sorted.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.connectors.keys().copied()
    }

    /// Starts to connect to `url`. A bad URL is reported by [`Builder::connect`].
    #[must_use]
    pub fn builder(&self, url: &str) -> Builder {
        Builder { prepared: self.prepare(url) }
    }

    fn prepare(&self, url: &str) -> Result<(Arc<dyn Connector>, Connect), Error> {
        let mut url: BusUrl = url.parse()?;
        let connector = self.find(url.scheme())?;
        let config: BusConfig = url.parameters.take(BusConfig::PARAMETERS)?;
        Ok((connector, Connect { url, config, on_failure: None }))
    }

    fn find(&self, scheme: &str) -> Result<Arc<dyn Connector>, Error> {
        if let Some(connector) = self.connectors.get(scheme) {
            return Ok(connector.clone());
        }
        let error = match self.disabled.get(scheme) {
            Some(feature) => Error::new(
                ErrorKind::UnknownScheme,
                format!(
                    "this program was built without `{scheme}://`; enable the Cargo feature `{feature}`"
                ),
            ),
            None => Error::new(ErrorKind::UnknownScheme, "no backend is known for this scheme")
                .with_context("scheme", scheme),
        };
        Err(error.with_context("available:", self.schemes().collect::<Vec<_>>().join(", ")))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("schemes", &self.connectors.keys())
            .field("disabled", &self.disabled)
            .finish()
    }
}

/// What a [`Connector`] gets.
#[non_exhaustive]
pub struct Connect {
    /// The URL; its remaining parameters are the connector's own.
    pub url: BusUrl,
    /// The configuration of the bus, validated.
    pub config: BusConfig,
    /// The failure handler, if the application set one.
    pub on_failure: Option<FailureHandler>,
}

impl Connect {
    /// A request as the registry makes it.
    #[must_use]
    pub fn new(url: BusUrl, config: BusConfig, on_failure: Option<FailureHandler>) -> Self {
        Self { url, config, on_failure }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("url", &self.url)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Configures and connects a bus. What is set here wins over the URL's parameters.
pub struct Builder {
    prepared: Result<(Arc<dyn Connector>, Connect), Error>,
}

impl Builder {
    fn set(mut self, set: impl FnOnce(&mut Connect)) -> Self {
        if let Ok((_, connect)) = &mut self.prepared {
            set(connect);
        }
        self
    }

    /// Sets the failure handler: it gets each accepted envelope that failed and that nobody
    /// waits for, exactly once. It is called by one task per bus, one failure after the
    /// other, off the acknowledgement path; it may block. Panics are caught and counted. It
    /// must not wait for room on the same bus, because the failed envelope counts in the window
    /// until the handler has returned: use `try_publish`, or hand the failure to a task.
    /// Without a handler each failure is an ERROR event with topic and id.
    ///
    /// When the bus is dropped without [`close`](EventBus::close), the handler is called
    /// by the thread that drops it for what is left.
    #[must_use]
    pub fn on_publish_failure(
        self,
        handler: impl Fn(PublishFailure) + Send + Sync + 'static,
    ) -> Self {
        self.set(|connect| connect.on_failure = Some(Arc::new(handler)))
    }

    /// Replaces the whole configuration, what the URL said included.
    #[must_use]
    pub fn config(self, config: BusConfig) -> Self {
        self.set(|connect| connect.config = config)
    }

    /// Sets [`BusConfig::max_in_flight`].
    #[must_use]
    pub fn max_in_flight(self, envelopes: usize) -> Self {
        self.set(|connect| connect.config.max_in_flight = envelopes)
    }

    /// Sets [`BusConfig::max_in_flight_bytes`].
    #[must_use]
    pub fn max_in_flight_bytes(self, bytes: usize) -> Self {
        self.set(|connect| connect.config.max_in_flight_bytes = bytes)
    }

    /// Sets [`BusConfig::max_envelope_bytes`].
    #[must_use]
    pub fn max_envelope_bytes(self, bytes: usize) -> Self {
        self.set(|connect| connect.config.max_envelope_bytes = bytes)
    }

    /// Sets [`BusConfig::ack_timeout`].
    #[must_use]
    pub fn ack_timeout(self, timeout: Duration) -> Self {
        self.set(|connect| connect.config.ack_timeout = timeout)
    }

    /// Sets [`BusConfig::ack_batch_size`].
    #[must_use]
    pub fn ack_batch_size(self, acknowledgements: usize) -> Self {
        self.set(|connect| connect.config.ack_batch_size = acknowledgements)
    }

    /// Sets [`BusConfig::close_timeout`].
    #[must_use]
    pub fn close_timeout(self, timeout: Duration) -> Self {
        self.set(|connect| connect.config.close_timeout = timeout)
    }

    /// Sets [`BusConfig::provision`].
    #[must_use]
    pub fn provision(self, provision: Provision) -> Self {
        self.set(|connect| connect.config.provision = provision)
    }

    /// Sets the retry policy of the bus.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.set(|connect| {
            connect.config.retry_max_elapsed = policy.max_elapsed;
            connect.config.retry_backoff = policy.backoff;
            connect.config.retry_max_backoff = policy.max_backoff;
        })
    }

    /// Sets [`BusConfig::raw`]: what these filters select is in the raw format.
    #[must_use]
    pub fn raw(self, filters: impl IntoIterator<Item = TopicFilter>) -> Self {
        self.set(|connect| connect.config.raw = RawTopics::new(filters))
    }

    /// Connects.
    ///
    /// Cancel-safe: a dropped future leaves nothing behind.
    ///
    /// # Errors
    /// `InvalidConfig` for a bad URL, parameter or value, `UnknownScheme` for a backend that
    /// is not registered, `Unavailable` and `Unauthorized` from the broker.
    pub async fn connect(self) -> Result<Arc<dyn EventBus>, Error> {
        let operation = "connect";
        let (connector, connect) = self.prepared.map_err(|e| e.with_operation(operation))?;
        connect.config.validate().map_err(|e| e.with_operation(operation))?;
        connector.connect(connect).await.map_err(|e| e.with_operation(operation))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("prepared", &self.prepared.as_ref().map(|(_, connect)| connect))
            .finish()
    }
}
