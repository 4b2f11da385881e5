//! The event bus API, its engine, and the interface that backends implement.
//!
//! Applications depend on the `eventbus` crate, which re-exports this one; backends and
//! decorators depend on this one. The parts:
//!
//! - [`EventBus`] and [`EventBusExt`]: what applications call.
//! - [`Envelope`], [`Topic`], [`TopicFilter`], [`Position`]: what they say.
//! - [`Subscription`], [`Delivery`]: what they receive.
//! - [`Bus`]: the engine, the one implementation around any [`backend::Transport`].
//! - [`Registry`] and [`Builder`]: from a URL to a bus.

mod capabilities;
mod config;
mod engine;
mod envelope;
mod error;
mod event_bus;
mod health;
mod options;
mod position;
mod receipt;
mod registry;
mod stats;
mod subscription;
mod topic;

pub mod backend;

pub use capabilities::Capabilities;
pub use config::{
    BusConfig, BusUrl, Parameters, Provision, RawTopics, RetryPolicy, Secret, duration,
};
pub use engine::{Bus, FailureHandler, PendingReceipt};
pub use envelope::{Envelope, Headers, JSON, OCTET_STREAM};
pub use error::{
    AckAllError, BatchError, BatchFailure, Error, ErrorKind, PublishError, PublishFailure,
    ReceiveError, SettleError,
};
pub use event_bus::{EventBus, EventBusExt};
pub use health::{Health, HealthStatus, SubscriptionHealth};
pub use options::{Ordering, PublishOptions, Start, SubscribeOptions, UndecodablePolicy};
pub use position::Position;
pub use receipt::Receipt;
pub use registry::{Builder, Registry};
pub use stats::Stats;
pub use subscription::{Delivery, DeliveryInfo, Stopper, Subscription, Undecodable, dead_letter};
pub use topic::{MAX_TOPIC_BYTES, Topic, TopicFilter};

const _: () = {
    const fn send_sync<T: Send + Sync + ?Sized>() {}
    const fn send<T: Send>() {}
    send_sync::<dyn EventBus>();
    send_sync::<Error>();
    send_sync::<PublishError>();
    send_sync::<Stopper>();
    send_sync::<Delivery>();
    send::<Subscription>();
    send::<PendingReceipt>();
};
