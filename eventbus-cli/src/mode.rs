//! The three ways to publish.

use std::fmt;

use clap::ValueEnum;

/// How events are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PublishMode {
    /// Without waiting for each acknowledgement; all are awaited at the end
    Async,
    /// In batches, each acknowledged before the next
    Batch,
    /// One by one, each acknowledged before the next
    Sync,
}

impl fmt::Display for PublishMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async => "async",
            Self::Batch => "batch",
            Self::Sync => "sync",
        })
    }
}
