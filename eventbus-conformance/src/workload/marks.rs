//! Reading a topic as a whole: marks behind everything say where it ends.

use std::{collections::HashSet, sync::Arc};

use eventbus_core::{
    Envelope, EventBus, EventBusExt, Position, ReceiveError, Start, SubscribeOptions, Topic,
};

use super::Value;
use crate::{Failure, PATIENCE, Result};

/// How often a mark is tried: the broker may still be recovering.
const TRIES: usize = 20;

/// What one message of a topic is, and where it is stored; `None` when it is no value.
pub type Message = (Option<(Value, Envelope)>, Position);

/// All that `topic` holds. To know where the end is it publishes marks, which it leaves out of
/// what it gives: they have the keys of the workload, so that each partition that holds values
/// gets one.
///
/// # Errors
/// When no mark can be published, or the marks do not come.
pub async fn read_whole(bus: &Arc<dyn EventBus>, topic: &Topic, keys: u32) -> Result<Vec<Message>> {
    let options = SubscribeOptions::new().start(Start::Earliest);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    for key in 0..keys {
        mark(bus, topic, Value::mark(key)).await?;
    }
    let (mut messages, mut marks) = (Vec::new(), HashSet::new());
    while marks.len() < keys as usize {
        let item = tokio::time::timeout(PATIENCE, subscription.next()).await;
        let item = item.map_err(|_| stuck(topic, messages.len(), marks.len()))?;
        match item {
            Some(Ok(delivery)) => {
                let envelope = delivery.envelope().clone();
                let position = delivery.position().clone();
                // Without a group an acknowledgement only makes room for more.
                let _ = delivery.ack().await;
                match Value::of(&envelope) {
                    Some(value) if value.is_mark() => {
                        marks.insert(value);
                    }
                    value => messages.push((value.map(|value| (value, envelope)), position)),
                }
            }
            Some(Err(ReceiveError::Undecodable(message))) => {
                messages.push((None, message.info().position.clone()));
                let _ = message.ack().await;
            }
            // Deleted messages leave gaps, which the checker judges.
            Some(Err(ReceiveError::Truncated(_))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Failure::new("the reader of the whole topic ended")),
        }
    }
    Ok(messages)
}

async fn mark(bus: &Arc<dyn EventBus>, topic: &Topic, mark: Value) -> Result {
    let mut last = None;
    for _ in 0..TRIES {
        match bus.publish_sync(topic, mark.to_envelope(0)).await {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    let why = last.map(|error| error.to_string()).unwrap_or_default();
    Err(Failure::new(format!("no mark could be published to {topic}: {why}")))
}

fn stuck(topic: &Topic, messages: usize, marks: usize) -> Failure {
    Failure::new(format!(
        "the reader of the whole of {topic} got nothing for {PATIENCE:?}, after {messages} \
         messages and {marks} marks"
    ))
}
