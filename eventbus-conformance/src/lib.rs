//! The suite that proves that an event bus backend keeps its promises.
//!
//! A scenario is a plain `async fn(Context) -> Result` that tries one promise through
//! `Arc<dyn EventBus>`. A backend implements [`Harness`], which connects buses to one
//! broker, and runs [`scenarios`] against it: all at once with [`Suite`], from a test target
//! with `harness = false`, or one by one in any Tokio test with [`Scenario::run`].
//!
//! A scenario that needs a capability or a feature of the harness that is missing is not
//! applicable: it is listed with the name of what is missing and never counts as passed.
//! Without a broker the suite fails.
//!
//! Scenarios assume nothing about where the broker is: deliveries may take long and come
//! more than once, topics may have partitions, members of a group may get their share late.

mod context;
mod failure;
mod harness;
mod scenario;
mod steps;
mod suite;
mod wait;

pub mod ack;
pub mod faults;
pub mod groups;
pub mod leaks;
pub mod order;
pub mod publish;
pub mod raw;
pub mod workload;

pub use context::Context;
pub use failure::{Failure, Result};
pub use harness::{Faults, Feature, Harness, HeldAcks, Request};
pub use scenario::{Need, Scenario, Verdict, scenarios};
pub use suite::{Backend, Outcome, Suite};
pub use wait::{PATIENCE, eventually, let_pass, within};
