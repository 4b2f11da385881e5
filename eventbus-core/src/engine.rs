//! The engine: what happens between accepting an envelope and its verdict, once for all
//! backends.
//!
//! An accepted envelope is an entry of the [`Ledger`]: encoded bytes, permits of the window,
//! and who wants the verdict. Transports know it by its id. Tasks: one that calls the failure
//! handler, one that times entries out and sends retries; their number never depends on load.

mod accept;
mod atomic;
mod batch;
mod bus;
mod capacity;
mod close;
mod failures;
mod lanes;
mod ledger;
mod pending;
mod subscribing;
mod table;
mod timer;
mod verdicts;
mod window;

use std::sync::Arc;

pub use bus::Bus;
pub(crate) use ledger::Ledger;
pub use pending::PendingReceipt;
pub use window::Window;

use crate::PublishFailure;

/// Gets each accepted envelope that failed and that nobody waits for; see
/// [`Builder::on_publish_failure`](crate::Builder::on_publish_failure).
pub type FailureHandler = Arc<dyn Fn(PublishFailure) + Send + Sync>;
