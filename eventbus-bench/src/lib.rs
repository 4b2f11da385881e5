//! Load, latencies and resource figures for any event bus.
//!
//! [`run`] connects a bus, puts a [`Load`] on it, closes it again and gives a [`Report`]:
//! one row of figures, the same for every backend, so that rows can be compared. It sees
//! nothing but `Arc<dyn EventBus>`.
//!
//! ```
//! use eventbus_bench::{Load, Mode, run};
//! use eventbus_core::{Error, Registry};
//!
//! async fn measure(registry: Registry) -> Result<(), Error> {
//!     let load = Load::new(Mode::Async, 100_000, 256);
//!     let connect = registry.builder("memory://").connect();
//!     let report = run("memory", &load, connect, |_| {}).await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! ```
//!
//! [`measure`](measure()) does the same for the raw client of a backend and for the tools of
//! the brokers' makers, and [`compare`] puts such measurements side by side.
//!
//! # What is measured, and what that costs
//! - Throughput counts acknowledged messages, from the first publish until all have their
//!   verdict. Making the envelopes is part of it.
//! - `accept_us`: how long `publish` took to accept, every 16th message.
//! - `ack_us`: from publish to acknowledgement. In mode `sync` of every message, in mode
//!   `batch` of every batch as a whole, in mode `async` of about 1 000 messages per publisher,
//!   and at most one in 64, spread evenly, which are published with a receipt (so its p99.9 is coarse). In mode `consume`, how long
//!   settling took, every 16th.
//! - `e2e_us`: from publish to delivery, every message; only when a consumer runs at the
//!   same time ([`Load::end_to_end`]), which then shares the machine.
//! - Order is checked by the consumer: within a key and a publisher, no first delivery may
//!   come after a later message. Without a concurrent consumer the topic is read back after
//!   the clock has stopped.
//! - Tasks and memory are sampled every 5 ms by a thread outside the runtime. The tasks of
//!   the load itself are not counted.

pub mod compare;
mod consume;
mod figures;
mod latency;
mod load;
mod measure;
mod plot;
mod process;
mod publish;
mod raw;
mod report;
mod run;
mod seen;
mod stamp;
mod strategies;
mod task;
mod timeline;
mod tools;

pub use latency::Quantiles;
pub use load::{Load, Mode};
pub use measure::{Job, Measured, Sample, Strategy, Tool, measure, tidy_up};
pub use raw::has_client;
pub use report::Report;
pub use run::run;
pub use timeline::{Point, Timeline};
pub use tools::{ToolError, is_there, variable, version};
