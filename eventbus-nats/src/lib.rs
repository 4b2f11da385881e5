//! The NATS JetStream backend of `eventbus`, on `async-nats`.
//!
//! ```no_run
//! # async fn example() -> Result<(), eventbus_core::Error> {
//! let mut registry = eventbus_core::Registry::new();
//! eventbus_nats::register(&mut registry);
//! let bus = registry.builder("nats://localhost:4222").connect().await?;
//! # bus.close().await
//! # }
//! ```
//!
//! # Where things are
//! The topic `orders.created` is the subject `eb.orders.created` in the stream `EVENTBUS`,
//! which is created on first use. [`NatsConfig`] says how to change each of these, and how to
//! authenticate; its fields are also URL parameters. A group is a durable pull consumer named
//! after group and filter; a subscription without a group has a consumer that goes with it.
//!
//! # What to know
//! - Servers from nats-server 2.10 on; an older one is refused when connecting. Earlier
//!   versions ignore it when a consumer takes several filters, and change an existing one
//!   when it is created once more.
//! - A lost connection is replaced by a new one. What had been sent and not acknowledged is
//!   reported as ambiguous, not sent again; what had not been sent stays queued, for half an
//!   `ack_timeout` at most. With `strict_order` it is sent again, identically, and the stream
//!   recognises it within its duplicate window.
//! - Where messages pile up they go through batches, which nats-server takes from 2.14 on:
//!   [`FastIngest`]. With `fast_ingest=always` everything does, which keeps the order of a key
//!   across a lost connection too.
//! - Attempts are counted by the server. A message that another member of the group gave
//!   back when it stopped counts as one more attempt, but never as a failed one.
//! - TLS uses rustls with `ring`. When the program has not installed a crypto provider, the
//!   first connection installs `ring` as the default.

mod acks;
mod api;
mod arrivals;
mod atomic;
mod config;
mod connection;
mod consumer;
mod delivered;
mod desk;
mod error;
mod fast;
mod feed;
mod headers;
mod inbox;
mod lanes;
mod leave;
mod message;
mod name;
mod per_key;
mod provision;
mod publish;
mod pull;
mod raw;
mod recall;
mod rescue;
mod settle;
mod slab;
mod subscribe;
mod tending;
mod tls;
mod transport;
mod words;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use eventbus_core::{
    Bus, BusConfig, Error, EventBus, FailureHandler, Registry,
    backend::{Connect, Connector, Window},
};

pub use async_nats;
pub use config::{FastIngest, NatsConfig, Secret, Storage, StreamMapping, StreamMappings};
pub use message::Route;
pub use subscribe::NatsSource;
pub use transport::NatsTransport;

/// The URL scheme of this backend.
pub const SCHEME: &str = "nats";

/// A bus on NATS JetStream.
pub type NatsBus = Bus<NatsTransport>;

/// Adds this backend to a registry.
pub fn register(registry: &mut Registry) {
    registry.register(SCHEME, NatsConnector);
}

/// Connects by configuration instead of a URL.
///
/// Cancel-safe: a dropped future leaves nothing behind.
///
/// # Errors
/// `InvalidConfig`, `Unavailable`, `Unauthorized`, `PermissionDenied`; `Unsupported` when the
/// server is too old.
pub async fn connect(
    config: NatsConfig,
    bus: BusConfig,
    on_failure: Option<FailureHandler>,
) -> Result<NatsBus, Error> {
    config.validate()?;
    bus.validate()?;
    let window = Window::new(bus.clone(), on_failure);
    let transport = NatsTransport::connect(config, &bus, window.verdicts()).await?;
    Ok(Bus::start(window, transport))
}

struct NatsConnector;

#[async_trait]
impl Connector for NatsConnector {
    fn parameters(&self) -> &'static [&'static str] {
        NatsConfig::PARAMETERS
    }

    async fn connect(&self, mut request: Connect) -> Result<Arc<dyn EventBus>, Error> {
        let config = NatsConfig::from_url(&mut request.url)?;
        let known = BusConfig::PARAMETERS.iter().chain(NatsConfig::PARAMETERS).copied();
        request.url.parameters.finish(known)?;
        Ok(Arc::new(connect(config, request.config, request.on_failure).await?))
    }
}
