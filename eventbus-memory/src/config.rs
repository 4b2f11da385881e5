//! What a `memory://` URL can say.

use std::time::Duration;

use eventbus_core::{BusConfig, BusUrl, Error, duration};
use serde::Deserialize;

use crate::error::invalid_config;

/// The options of an in-process broker. Each field is also a URL parameter of the same name:
/// `memory://shop?retention_bytes=1000000&duplicate_window=30s`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// How many bytes each topic keeps, 64 MiB by default, with 128 bytes counted on top of
    /// each encoded envelope. Beyond that the oldest messages go, whether or not somebody has
    /// read them; the newest stays in any case.
    pub retention_bytes: usize,
    /// How long the broker recognises the id of an idempotent publish; 2 minutes by default.
    /// A topic remembers at most 131 072 ids.
    pub duplicate_window: Duration,
}

impl MemoryConfig {
    /// The names of all fields, which are the URL parameters beyond those of every bus.
    pub const PARAMETERS: &'static [&'static str] = &["retention_bytes", "duplicate_window"];
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { retention_bytes: 64 << 20, duplicate_window: Duration::from_secs(120) }
    }
}

/// What a URL says about the broker, which may be running already.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) retention_bytes: Option<usize>,
    #[serde(deserialize_with = "some_duration")]
    pub(crate) duplicate_window: Option<Duration>,
}

fn some_duration<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(value).map(Some)
}

impl Given {
    pub(crate) fn config(&self) -> MemoryConfig {
        let default = MemoryConfig::default();
        MemoryConfig {
            retention_bytes: self.retention_bytes.unwrap_or(default.retention_bytes),
            duplicate_window: self.duplicate_window.unwrap_or(default.duplicate_window),
        }
    }
}

/// A broker as a URL names it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// `None` for a broker of its own.
    pub(crate) name: Option<String>,
    pub(crate) given: Given,
}

impl Place {
    pub(crate) fn from_url(url: &mut BusUrl) -> Result<Self, Error> {
        let given: Given = url.parameters.take(MemoryConfig::PARAMETERS)?;
        let known = BusConfig::PARAMETERS.iter().chain(MemoryConfig::PARAMETERS);
        url.parameters.finish(known.copied())?;
        if given.retention_bytes == Some(0) {
            return Err(
                invalid_config("must be at least 1").with_context("parameter", "retention_bytes")
            );
        }
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !url.path().is_empty() || !url.authority().chars().all(valid) {
            return Err(invalid_config(
                "a memory URL is `memory://` for a broker of its own, or `memory://NAME` for one \
                 that is shared within the process; a name has letters, digits, `_`, `-`, `.`",
            ));
        }
        let name = url.authority();
        Ok(Self { name: (!name.is_empty()).then(|| name.to_owned()), given })
    }
}
