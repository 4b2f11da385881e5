//! The in-process backend of eventbus: `memory://`.
//!
//! A broker in memory, with the semantics of one that is not: topics are bounded logs, groups
//! keep their position and share messages, what is not settled in time comes again. It is for
//! tests (see [`testing`]) and for programs whose parts talk to each other; it forgets
//! everything with the process.
//!
//! ```
//! use eventbus_core::{Envelope, EventBusExt, Registry, SubscribeOptions, Topic};
//!
//! const ORDERS: Topic = Topic::from_static("orders.created");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut registry = Registry::new();
//! eventbus_memory::register(&mut registry);
//! let bus = registry.builder("memory://").connect().await?;
//! bus.publish(&ORDERS, Envelope::new("order.created", "42")).await?;
//!
//! let mut orders = bus.subscribe(&ORDERS.filter(), SubscribeOptions::group("billing")).await?;
//! let delivery = orders.try_next().await?.expect("the subscription goes on");
//! assert_eq!(delivery.envelope().payload().as_ref(), b"42");
//! delivery.ack().await?;
//! bus.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # URLs
//! - `memory://`: a broker of its own for each bus.
//! - `memory://NAME`: one broker for all buses of the process that use this name, for as long
//!   as one of them lives.
//!
//! Parameters beyond those of every bus are the fields of [`MemoryConfig`].
//!
//! # What to expect
//! - Retention drops the oldest messages of a topic whether or not somebody has read them. A
//!   reader that is overtaken is told so once per gap and goes on behind it.
//! - A group exists from its first subscription on, keeps its position without members, and
//!   gets topics that its filter selects later from their start.
//! - With per-key order, up to 65 536 messages (or 16 times the largest `max_in_flight`) of a
//!   group are passed over or wait for their redelivery. Beyond that it takes no new ones, and
//!   its health says so.
//! - When a bus is closed, what its subscriptions hold goes to the other members of their
//!   groups at once, and the attempt does not count. When it is dropped without being closed,
//!   the attempt counts, as after a crash.
//! - There is no task: a subscription does its group's work while it is read.

mod blocks;
mod broker;
mod config;
mod duplicates;
mod error;
mod few;
mod group;
mod key;
mod log;
#[cfg(test)]
mod model;
mod provision;
mod publish;
mod settle;
mod subscribe;
pub mod testing;
mod transport;

pub use config::MemoryConfig;
use eventbus_core::{Bus, Registry};
pub use provision::MemoryRoute;
pub use subscribe::MemorySource;
pub use transport::MemoryTransport;

/// The URL scheme.
pub const SCHEME: &str = "memory";

/// The bus behind `memory://` URLs, for downcasting with
/// [`EventBus::as_any`](eventbus_core::EventBus::as_any).
pub type MemoryBus = Bus<MemoryTransport>;

/// Makes `memory://` URLs known to `registry`.
pub fn register(registry: &mut Registry) {
    registry.register(SCHEME, transport::MemoryConnector);
}
