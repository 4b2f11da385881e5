//! The backends under test, by the schemes of their URLs.

use std::sync::Arc;

use eventbus_conformance::Request;
use eventbus_core::{Error, EventBus, Registry};

fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    eventbus_nats::register(&mut registry);
    eventbus_kafka::register(&mut registry);
    registry
}

/// Connects a bus as a scenario wants it.
///
/// # Errors
/// When that fails.
pub(crate) async fn connect(url: &str, request: Request) -> Result<Arc<dyn EventBus>, Error> {
    let mut builder = registry().builder(url).config(request.config);
    if let Some(handler) = request.on_failure {
        builder = builder.on_publish_failure(move |failure| handler(failure));
    }
    builder.connect().await
}
