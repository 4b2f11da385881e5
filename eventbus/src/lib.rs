#![doc = include_str!("../README.md")]

use std::sync::Arc;

pub use eventbus_core::*;
#[cfg(feature = "kafka")]
pub use eventbus_kafka as kafka;
#[cfg(feature = "memory")]
pub use eventbus_memory as memory;
#[cfg(feature = "nats")]
pub use eventbus_nats as nats;

/// The environment variable that [`from_env`] reads.
pub const URL_VARIABLE: &str = "EVENTBUS_URL";

/// A registry of the backends that this build has. Start from it to add one of your own.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    for (scheme, feature) in [("kafka", "kafka"), ("memory", "memory"), ("nats", "nats")] {
        registry.disabled(scheme, feature);
    }
    #[cfg(feature = "kafka")]
    kafka::register(&mut registry);
    #[cfg(feature = "memory")]
    memory::register(&mut registry);
    #[cfg(feature = "nats")]
    nats::register(&mut registry);
    registry
}

/// Connects to `url` with the default configuration and that of its parameters.
///
/// Cancel-safe.
///
/// # Errors
/// Those of [`Builder::connect`].
pub async fn connect(url: &str) -> Result<Arc<dyn EventBus>, Error> {
    builder(url).connect().await
}

/// Configures a bus for `url`.
#[must_use]
pub fn builder(url: &str) -> Builder {
    registry().builder(url)
}

/// Configures a bus for the URL in the environment variable `EVENTBUS_URL`.
///
/// # Errors
/// `InvalidConfig` when the variable is not set or is not Unicode.
pub fn from_env() -> Result<Builder, Error> {
    let url = std::env::var(URL_VARIABLE).map_err(|error| {
        Error::new(
            ErrorKind::InvalidConfig,
            "set the environment variable `EVENTBUS_URL`, for example to `memory://`",
        )
        .with_source(error)
    })?;
    Ok(builder(&url))
}
