//! Storing envelopes.

use std::sync::atomic::Ordering;

use eventbus_core::backend::{Outgoing, OutgoingBatch, Stored};

use crate::{
    MemoryRoute, MemoryTransport,
    error::{closed_before_storing, topic_not_found},
    group::now,
    key::hash_key,
    log::Log,
};

impl MemoryTransport {
    pub(crate) fn store(&self, route: &MemoryRoute, mut outgoing: Outgoing<'_>) {
        if self.closed.load(Ordering::Acquire) {
            return outgoing.entry.complete(Err(closed_before_storing()));
        }
        let Some(entry) = self.faults.intercept(route.topic(), outgoing.entry) else {
            return;
        };
        outgoing.entry = entry;
        match route.log() {
            Some(log) => self.store_in(log, outgoing),
            // The topic may have come to exist since the route was found.
            None => match self.broker.find(route.topic()) {
                Some(log) => self.store_in(&log, outgoing),
                None => outgoing.entry.complete(Err(topic_not_found(route.topic()))),
            },
        }
    }

    fn store_in(&self, log: &Log, outgoing: Outgoing<'_>) {
        let key = hash_key(outgoing.envelope.aggregate_id());
        let once = outgoing.options.idempotent.then(|| (outgoing.id().as_u128(), now()));
        let appended = log.append(outgoing.encoded, key, once);
        let mut stored = Stored::at(0, Some(appended.offset));
        if appended.duplicate {
            stored = stored.duplicate();
        }
        self.faults.acknowledge(outgoing.entry, stored);
    }

    /// Stores all under one lock of the topic, so nothing comes in between.
    pub(crate) fn store_batch(&self, route: &MemoryRoute, batch: OutgoingBatch<'_>) {
        if self.closed.load(Ordering::Acquire) {
            return batch.entry.complete(Err(closed_before_storing()));
        }
        let Some(entry) = self.faults.intercept(route.topic(), batch.entry) else {
            return;
        };
        let found = || self.broker.find(route.topic());
        let Some(log) = route.log().cloned().or_else(found) else {
            return entry.complete(Err(topic_not_found(route.topic())));
        };
        let records = batch.envelopes.into_iter();
        let records = records.map(|(encoded, e)| (encoded, hash_key(e.aggregate_id())));
        let first = log.append_all(records.collect());
        self.faults.acknowledge(entry, Stored::at(0, Some(first)));
    }
}
