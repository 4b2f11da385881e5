//! Looking at dead letters.

use std::sync::Arc;

use eventbus_core::{DeliveryInfo, Envelope, EventBus, EventBusExt, Topic, dead_letter};

use super::{keyed, read_all};
use crate::{Result, within};

/// `letter` is `original`, with the headers that say where it comes from and why.
#[track_caller]
pub(crate) fn assert_letter(
    letter: &Envelope,
    original: &Envelope,
    info: &DeliveryInfo,
    group: Option<&str>,
    reason: &str,
) {
    let attempts = info.attempt.to_string();
    let position = info.position.to_string();
    let mut expected = original
        .clone()
        .with_header(dead_letter::REASON, reason)
        .with_header(dead_letter::ATTEMPTS, attempts)
        .with_header(dead_letter::TOPIC, info.topic())
        .with_header(dead_letter::POSITION, position);
    if let Some(group) = group {
        expected = expected.with_header(dead_letter::GROUP, group);
    }
    let headers: Vec<_> = letter.headers().iter().collect();
    assert!(letter == &expected, "{letter:?} with the headers {headers:?}");
}

/// No event with this key is on the dead-letter topic.
pub(crate) async fn no_dead_letters(bus: &Arc<dyn EventBus>, dead: &Topic, key: &str) -> Result {
    // The key makes it come after whatever is there.
    let marker = keyed(key, 0);
    within("the marker", bus.publish_sync(dead, marker.clone())).await??;
    let first = read_all(bus, dead, 1).await?;
    assert!(first[0] == marker, "a dead letter: {:?}", first[0]);
    Ok(())
}
