//! The transport and how it is connected.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use eventbus_core::{
    Bus, Capabilities, Error, EventBus, Health, HealthStatus, Provision, SubscribeOptions, Topic,
    TopicFilter,
    backend::{Connect, Connector, Outgoing, OutgoingBatch, Transport, Window},
};

use crate::{
    MemoryConfig, MemoryRoute, MemorySource, SCHEME, broker::Broker, config::Place,
    group::GiveBack, settle::Membership, testing::Faults,
};

/// More would hold up the others of a topic for too long.
const MAX_ATOMIC_BATCH: usize = 1 << 16;

/// Connects `memory://` URLs.
pub(crate) struct MemoryConnector;

#[async_trait]
impl Connector for MemoryConnector {
    fn parameters(&self) -> &'static [&'static str] {
        MemoryConfig::PARAMETERS
    }

    async fn connect(&self, mut request: Connect) -> Result<Arc<dyn EventBus>, Error> {
        let broker = Broker::at(Place::from_url(&mut request.url)?)?;
        let provision = request.config.provision;
        let window = Window::new(request.config, request.on_failure);
        let transport = MemoryTransport {
            broker,
            provision,
            faults: Arc::new(Faults::new(window.verdicts())),
            closed: AtomicBool::new(false),
            memberships: Mutex::default(),
        };
        Ok(Arc::new(Bus::start(window, transport)))
    }
}

/// One bus's connection to an in-process broker.
pub struct MemoryTransport {
    pub(crate) broker: Arc<Broker>,
    pub(crate) provision: Provision,
    pub(crate) faults: Arc<Faults>,
    /// Nothing is stored any more.
    pub(crate) closed: AtomicBool,
    /// Those that may hold messages, which go back to their groups when the bus closes.
    memberships: Mutex<Vec<Arc<Membership>>>,
}

impl MemoryTransport {
    /// The options of the broker.
    #[must_use]
    pub fn config(&self) -> &MemoryConfig {
        &self.broker.config
    }

    fn close_memberships(&self, how: GiveBack) {
        let memberships = {
            let mut all = self.memberships.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *all)
        };
        for membership in memberships {
            membership.close(how);
        }
    }
}

impl Transport for MemoryTransport {
    type Route = MemoryRoute;
    type Source = MemorySource;

    fn backend(&self) -> &'static str {
        SCHEME
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(self.broker.config.retention_bytes);
        capabilities.ordered_across_reconnect = true;
        capabilities.idempotent_publish = true;
        capabilities.atomic_batch = true;
        capabilities.max_atomic_batch = MAX_ATOMIC_BATCH;
        capabilities.per_key_across_group = true;
        capabilities.cumulative_ack = true;
        capabilities.group_options_checked = true;
        capabilities.start_at_time = true;
        capabilities.shared_messages = true;
        capabilities
    }

    async fn resolve(&self, topic: &Topic) -> Result<MemoryRoute, Error> {
        self.route(topic)
    }

    fn send(&self, route: &MemoryRoute, outgoing: Outgoing<'_>) {
        self.store(route, outgoing);
    }

    fn send_atomic(&self, route: &MemoryRoute, batch: OutgoingBatch<'_>) {
        self.store_batch(route, batch);
    }

    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<MemorySource, Error> {
        let (group, member) = self.broker.subscribe(filter, options, self.provision)?;
        let membership = Arc::new(Membership::new(group, member));
        let mut memberships = self.memberships.lock().unwrap_or_else(PoisonError::into_inner);
        memberships.retain(|membership| !membership.group.is_done(membership.member));
        memberships.push(membership.clone());
        drop(memberships);
        Ok(MemorySource::new(membership))
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.broker.find_or_create(topic);
        Ok(())
    }

    async fn health(&self) -> Health {
        if self.closed.load(Ordering::Acquire) {
            return Health::new(HealthStatus::Closed);
        }
        Health::healthy()
    }

    async fn shutdown(&self, _: Instant) {
        self.closed.store(true, Ordering::Release);
        self.close_memberships(GiveBack::Uncounted);
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close_memberships(GiveBack::Counted);
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("config", &self.broker.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use eventbus_core::{Envelope, EventBusExt, Registry};

    use super::*;
    use crate::MemoryBus;

    #[tokio::test]
    async fn subscriptions_that_are_over_are_forgotten() {
        let mut registry = Registry::new();
        crate::register(&mut registry);
        let bus = registry.builder("memory://").connect().await.unwrap();
        let topic = Topic::from_static("transport.one");
        for options in [SubscribeOptions::new(), SubscribeOptions::group("g")] {
            for _ in 0..20 {
                let opened = bus.subscribe(&topic.filter(), options.clone()).await;
                let mut subscription = opened.unwrap();
                bus.publish(&topic, Envelope::new("t", "")).await.unwrap();
                let delivery = subscription.try_next().await.unwrap().unwrap();
                match options.group {
                    Some(_) => delivery.ack().await.unwrap(),
                    // It is of no use to anybody else.
                    None => drop(delivery),
                }
            }
        }
        let transport = bus.as_any().downcast_ref::<MemoryBus>().unwrap().transport();
        assert_eq!(transport.memberships.lock().unwrap().len(), 1);
    }
}
