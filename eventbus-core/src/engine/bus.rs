//! The bus: the engine around a transport.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU8, Ordering},
    },
};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::{
    Ledger, PendingReceipt, Window,
    accept::{Request, Room},
    batch::Batch,
    failures::handle_failures,
    table::Completion,
    timer::{Resend, watch_clock},
};
use crate::{
    BatchError, BusConfig, Capabilities, Envelope, Error, ErrorKind, EventBus, Health,
    PublishError, PublishOptions, Receipt, Stats, SubscribeOptions, Subscription, Topic,
    TopicFilter,
    backend::{InFlight, Outgoing, Transport},
    subscription::{Counters, Shared},
};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(super) const OPEN: u8 = 0;
pub(super) const CLOSING: u8 = 1;
pub(super) const CLOSED: u8 = 2;

/// The engine around a transport: the one implementation of [`EventBus`] that backends use.
///
/// Dropping it is like closing it with no time at all: what has no verdict yet goes to the
/// failure handler, on the dropping thread. It never blocks by itself and needs no runtime.
pub struct Bus<T: Transport>(pub(super) Arc<Inner<T>>);

/// How a topic is sent to.
#[derive(Clone)]
pub(super) struct Routed<R> {
    pub(super) route: R,
    pub(super) raw: bool,
}

pub(super) struct Inner<T: Transport> {
    pub(super) transport: T,
    pub(super) ledger: Arc<Ledger>,
    pub(super) capabilities: Capabilities,
    /// Looked at by every publish, so with a cheaper hash than the standard one.
    routes: RwLock<HashMap<Topic, Routed<T::Route>, foldhash::fast::RandomState>>,
    pub(super) lifecycle: AtomicU8,
    pub(super) subscriptions: Mutex<Vec<Weak<Shared>>>,
    pub(super) counters: Arc<Counters>,
    pub(super) tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Held while closing; true when that is done.
    pub(super) closed: tokio::sync::Mutex<bool>,
}

impl<T: Transport> Bus<T> {
    /// Starts the engine around a connected transport: two tasks, which end with the bus.
    ///
    /// # Panics
    /// Outside a Tokio runtime; the runtime needs time enabled.
    #[must_use]
    pub fn start(window: Window, transport: T) -> Self {
        let ledger = window.0;
        let inner = Arc::new(Inner {
            capabilities: transport.capabilities(),
            transport,
            ledger: ledger.clone(),
            routes: RwLock::default(),
            lifecycle: AtomicU8::new(OPEN),
            subscriptions: Mutex::default(),
            counters: Arc::default(),
            tasks: Mutex::default(),
            closed: tokio::sync::Mutex::new(false),
        });
        let weak = Arc::downgrade(&inner);
        let forget = weak.clone();
        let native_retry = inner.capabilities.native_retry;
        ledger.attach(inner.transport.backend(), native_retry, move |topic| {
            if let Some(inner) = forget.upgrade() {
                inner.forget_route(topic);
            }
        });
        let resend = move |entry| {
            let inner = weak.upgrade();
            async move {
                if let Some(inner) = inner {
                    inner.resend(entry).await;
                }
            }
        };
        *inner.tasks.lock().unwrap_or_else(PoisonError::into_inner) = vec![
            tokio::spawn(handle_failures(ledger.clone())),
            tokio::spawn(watch_clock(ledger, resend)),
        ];
        Self(inner)
    }

    /// The transport, for what only this backend has.
    #[must_use]
    pub fn transport(&self) -> &T {
        &self.0.transport
    }

    /// The configuration of the bus.
    #[must_use]
    pub fn config(&self) -> &BusConfig {
        &self.0.ledger.config
    }
}

impl<T: Transport> Inner<T> {
    pub(super) fn error(&self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, message).with_backend(self.transport.backend())
    }

    pub(super) fn closed_error(&self) -> Error {
        self.error(ErrorKind::Closed, "the bus is closed; connect a new one")
    }

    pub(super) fn is_raw(&self, topic: &Topic) -> bool {
        self.ledger.config.raw.matches(topic)
    }

    pub(super) fn known_route(&self, topic: &Topic) -> Option<Routed<T::Route>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    pub(super) async fn find_route(&self, topic: &Topic) -> Result<Routed<T::Route>, Error> {
        if let Some(route) = self.known_route(topic) {
            return Ok(route);
        }
        let route = Routed { route: self.transport.resolve(topic).await?, raw: self.is_raw(topic) };
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        // Another publisher may have been faster: all use the same one.
        Ok(routes.entry(topic.clone()).or_insert(route).clone())
    }

    fn forget_route(&self, topic: &Topic) {
        self.routes.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// Accepts an envelope whose verdict nobody waits for.
    fn publish_detached<'f>(
        &'f self,
        topic: &'f Topic,
        envelope: Envelope,
        options: PublishOptions,
        room: Room,
    ) -> BoxFuture<'f, Result<(), PublishError>> {
        Box::pin(async move {
            let completion = Completion::Detached;
            let options = &options;
            let request =
                Request { topic, envelope: &envelope, options, completion, awaited: false };
            match self.accept(request, room).await {
                Ok(()) => Ok(()),
                Err(error) => Err(PublishError::new(error, envelope)),
            }
        })
    }

    /// Sends an entry of the retry queue again.
    async fn resend(self: Arc<Self>, entry: Resend) {
        let in_flight = InFlight::new(self.ledger.clone(), entry.id);
        match self.find_route(&entry.topic).await {
            // It may have timed out meanwhile.
            Ok(_) if !self.ledger.is_pending(entry.id) => {}
            Ok(route) => {
                let envelope = entry.encoded.decode();
                let encoded = entry.encoded.into_bytes();
                let (options, raw) = (&entry.options, route.raw);
                let outgoing = Outgoing::new(in_flight, encoded, &envelope, options, true, raw);
                self.transport.send(&route.route, outgoing);
            }
            Err(error) if error.is_temporary() => in_flight.retry(error),
            Err(error) => in_flight.complete(Err(error)),
        }
    }
}

#[async_trait]
impl<T: Transport> EventBus for Bus<T> {
    // Written out rather than with `async_trait`, which keeps each argument twice: these
    // futures are made and moved for every message.
    fn publish_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<(), PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        self.0.publish_detached(topic, envelope, options, Room::Wait)
    }

    fn try_publish_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<(), PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        self.0.publish_detached(topic, envelope, options, Room::Now)
    }

    fn publish_with_receipt_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<PendingReceipt, PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let (waiter, receipt) = PendingReceipt::waiting(self.0.ledger.clone());
            let completion = Completion::Waiter(waiter);
            let options = &options;
            let request =
                Request { topic, envelope: &envelope, options, completion, awaited: true };
            match self.0.accept(request, Room::Wait).await {
                Ok(()) => Ok(receipt),
                Err(error) => Err(PublishError::new(error, envelope)),
            }
        })
    }

    async fn publish_batch_opts(
        &self,
        topic: &Topic,
        envelopes: Vec<Envelope>,
        options: PublishOptions,
    ) -> Result<Vec<Receipt>, BatchError> {
        if envelopes.is_empty() {
            return Ok(Vec::new());
        }
        if options.atomic {
            return self.0.publish_atomic(topic, envelopes, options).await;
        }
        let last = envelopes.len() - 1;
        let batch = Batch::new(envelopes.len(), self.0.ledger.clone());
        for (index, envelope) in envelopes.into_iter().enumerate() {
            let completion = Completion::Batch(batch.tracker(), index);
            let awaited = index == last;
            let options = &options;
            let request = Request { topic, envelope: &envelope, options, completion, awaited };
            if let Err(error) = self.0.accept(request, Room::Wait).await {
                batch.refused(index, PublishError::new(error, envelope));
            }
        }
        // The last one may have been refused: somebody waits all the same.
        self.0.transport.expedite();
        batch.verdicts().await
    }

    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: SubscribeOptions,
    ) -> Result<Subscription, Error> {
        self.0.subscribe(filter, options).await.map_err(|error| {
            error.with_operation("subscribe").with_backend(self.0.transport.backend())
        })
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        if self.0.lifecycle.load(Ordering::Acquire) != OPEN {
            return Err(self.0.closed_error().with_operation("ensure_topic"));
        }
        self.0
            .transport
            .ensure_topic(topic)
            .await
            .map_err(|error| error.with_operation("ensure_topic"))
    }

    async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.close().await
    }

    async fn health(&self) -> Health {
        self.0.health().await
    }

    fn stats(&self) -> Stats {
        let mut stats = self.0.ledger.stats();
        self.0.counters.fill(&mut stats);
        stats
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<T: Transport> Drop for Bus<T> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl<T: Transport> fmt::Debug for Bus<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("backend", &self.0.transport.backend()).finish_non_exhaustive()
    }
}
