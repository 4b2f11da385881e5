//! Atomic batches: messages that the server stores one behind the other, or not at all (ADR-50,
//! nats-server 2.12). It keeps them until the last one comes, and drops them if one is missing.

use async_nats::HeaderMap;
use bytes::Bytes;
use eventbus_core::{Envelope, backend::OutgoingBatch};

use crate::{
    message::{Message, Route},
    publish::Ring,
};

/// The first version that takes them.
pub(crate) const OLDEST_SERVER: (u32, u32) = (2, 12);
/// How many messages each may have.
pub(crate) const MOST: usize = 1000;

const ID: &str = "Nats-Batch-Id";
const SEQUENCE: &str = "Nats-Batch-Sequence";
const COMMIT: &str = "Nats-Batch-Commit";

/// The payloads of a batch, with the headers of a raw topic.
#[derive(Debug, Clone)]
pub(crate) struct AtomicBatch(Vec<(Bytes, Option<Box<HeaderMap>>)>);

impl AtomicBatch {
    pub(crate) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    /// What is to be written; the last one stores all.
    pub(crate) fn messages(self) -> impl Iterator<Item = (Bytes, HeaderMap)> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let last = self.0.len();
        (1..).zip(self.0).map(move |(sequence, (payload, headers))| {
            let mut headers = headers.map(|headers| *headers).unwrap_or_default();
            headers.insert(ID, id.as_str());
            headers.insert(SEQUENCE, sequence.to_string());
            if sequence == last {
                headers.insert(COMMIT, "1");
            }
            (payload, headers)
        })
    }
}

impl Ring {
    /// Queues an atomic batch, as one message.
    pub(crate) fn send_atomic(&self, route: &Route, batch: OutgoingBatch<'_>) {
        let part = |(encoded, envelope): (Bytes, &Envelope)| {
            self.content(route, encoded, envelope, batch.raw)
        };
        let parts = batch.envelopes.into_iter().map(part).collect();
        self.queue(Message {
            id: batch.entry.into_id(),
            route: route.clone(),
            payload: Bytes::new(),
            message_id: None,
            headers: None,
            order: None,
            idempotent: false,
            awaited: true,
            atomic: Some(Box::new(AtomicBatch(parts))),
            written: None,
        });
    }
}
