//! A workload that faults can be injected under, and the checker that judges what came out.
//!
//! Writers publish [`Value`]s, members of a group receive them, and whoever runs it breaks
//! and heals the broker meanwhile. What happened is a [`History`], which [`check`] judges: it is
//! a function of nothing else.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use eventbus_conformance::{Context, Failure, Harness};
//! use eventbus_conformance::workload::{Mode, Promises, Workload, check};
//! # async fn example(my_harness: Arc<dyn Harness>) -> Result<(), Failure> {
//! let context = Context::new(my_harness);
//! let run = Workload::new(Mode::Receipt).start(&context).await?;
//! run.flows(100).await?;
//! context.harness().restart_broker().await?;
//! run.flows(100).await?;
//! let promises = Promises::across_reconnect(&run.capabilities());
//! let report = check(&run.finish().await?);
//! assert!(report.keeps(&promises), "{report}");
//! # Ok(())
//! # }
//! ```

mod anomaly;
mod check;
mod history;
mod marks;
mod member;
mod recorder;
mod report;
mod running;
mod value;
mod writer;

use std::time::Duration;

use eventbus_core::Capabilities;

pub use anomaly::{Anomaly, Kind, Place};
pub use check::check;
pub use history::{Attempt, Counts, Event, History, Letter, Outcome, Settled};
pub use marks::{Message, read_whole};
pub use recorder::Recorder;
pub use report::{Promises, Report, Totals};
pub use running::Running;
pub use value::{NoValue, Value};

/// How writers publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// `publish`: failures reach the failure handler.
    Detached,
    /// `publish_with_receipt`, with several receipts pending.
    Receipt,
    /// One after the other.
    Sync,
    /// `publish_batch`.
    Batch,
    /// `publish_batch` of what is stored whole or not at all: for buses with the capability
    /// `atomic_batch`.
    Atomic,
}

impl Mode {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Detached, Self::Receipt, Self::Sync, Self::Batch, Self::Atomic];

    /// Whether a bus with these capabilities can publish so.
    #[must_use]
    pub const fn is_for(self, capabilities: &Capabilities) -> bool {
        !matches!(self, Self::Atomic) || capabilities.atomic_batch
    }

    /// The mode in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Receipt => "receipt",
            Self::Sync => "sync",
            Self::Batch => "batch",
            Self::Atomic => "atomic",
        }
    }
}

/// What writers and readers do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Workload {
    /// How writers publish.
    pub mode: Mode,
    /// How many writers there are.
    pub writers: u32,
    /// How many keys they share.
    pub keys: u32,
    /// How many members of the group there are at the start.
    pub members: usize,
    /// The least size of a payload in bytes.
    pub payload: usize,
    /// How long a writer rests after every few publishes.
    pub rest: Duration,
    /// Every how manieth value of a writer cannot be handled, and becomes a dead letter.
    pub poison: Option<u64>,
    /// Whether the group asks for the order of keys.
    pub per_key: bool,
    /// `BusConfig::ack_timeout` of the publishing bus.
    pub ack_timeout: Duration,
    /// `BusConfig::retry_max_elapsed` of the publishing bus.
    pub retry_max_elapsed: Duration,
    /// `SubscribeOptions::ack_wait` of the group.
    pub ack_wait: Duration,
    /// How long the group may get nothing new after the end before it counts as stuck.
    pub drain: Duration,
}

/// The attempts that the group gives a value.
const MAX_ATTEMPTS: u32 = 3;

impl Workload {
    /// Four writers, eight keys and two members, at some thousand values a second.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            writers: 4,
            keys: 8,
            members: 2,
            payload: 64,
            rest: Duration::from_millis(2),
            poison: Some(97),
            per_key: false,
            ack_timeout: Duration::from_secs(1),
            retry_max_elapsed: Duration::ZERO,
            ack_wait: Duration::from_secs(10),
            drain: crate::PATIENCE,
        }
    }
}
