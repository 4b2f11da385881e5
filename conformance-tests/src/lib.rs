//! The conformance suite against the backends of this workspace.
//!
//! `cargo test -p conformance-tests` runs it; names are `backend::module::scenario`, and a
//! filter selects. `cargo run -p conformance-tests -- matrix` writes what came out to
//! `docs/conformance.md`; `-- faults` and `-- soak` are the long runs behind
//! `docs/reliability.md`, `-- pipe` is the proof of `eventbus pipe`.

pub mod faults;
mod kafka;
pub mod matrix;
mod memory;
mod nats;
mod outside;
pub mod pipe;
mod registry;
pub mod soak;

use std::sync::Arc;

use eventbus_conformance::{Backend, Suite};

pub use memory::Memory;

/// The suite for all backends.
#[must_use]
pub fn suite() -> Suite {
    Suite::new([
        Backend::new("kafka", |scenario| Arc::new(kafka::KafkaHarness::new(scenario))),
        Backend::new("memory", |_| Arc::new(memory::Memory::new())),
        Backend::new("nats", |_| Arc::new(nats::NatsHarness::new("nats", ""))),
        Backend::new("nats-fast", |_| {
            Arc::new(nats::NatsHarness::new("nats-fast", "fast_ingest=always"))
        }),
        Backend::new("nats-strict", |_| {
            Arc::new(nats::NatsHarness::new("nats-strict", "strict_order=true"))
        }),
        Backend::new("outside", |_| Arc::new(outside::Outside::new())),
    ])
}
