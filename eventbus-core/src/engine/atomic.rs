//! Atomic batches: accepted whole, sent whole, and with one verdict.

use std::sync::atomic::Ordering;

use super::{
    accept::Room,
    batch::Batch,
    bus::{Inner, Routed},
    ledger::AcceptedTogether,
    table::{Completion, Entry},
};
use crate::{
    BatchError, Envelope, Error, ErrorKind, PublishError, PublishOptions, Receipt, Topic,
    backend::{InFlight, OutgoingBatch, Transport},
    envelope::{Encoded, raw},
};

impl<T: Transport> Inner<T> {
    /// Publishes a batch of at least one envelope, all or none.
    pub(super) async fn publish_atomic(
        &self,
        topic: &Topic,
        envelopes: Vec<Envelope>,
        options: PublishOptions,
    ) -> Result<Vec<Receipt>, BatchError> {
        let batch = Batch::new(envelopes.len(), self.ledger.clone());
        match self.accept_atomic(topic, &envelopes, &options, &batch).await {
            Ok(()) => {
                drop(envelopes);
                self.transport.expedite();
                batch.verdicts().await
            }
            Err(error) => {
                self.ledger.refused.fetch_add(envelopes.len() as u64, Ordering::Relaxed);
                let error = error.with_operation("publish").with_context("topic", topic);
                let refused = |envelope| PublishError::new(error.clone(), envelope);
                Err(BatchError::new(envelopes.into_iter().map(refused).enumerate(), []))
            }
        }
    }

    /// Accepts and sends a batch. Until it is accepted, dropping this future leaves no trace.
    async fn accept_atomic(
        &self,
        topic: &Topic,
        envelopes: &[Envelope],
        options: &PublishOptions,
        batch: &Batch,
    ) -> Result<(), Error> {
        tokio::task::coop::consume_budget().await;
        let encoded = self.check_atomic(topic, envelopes, options)?;
        let Routed { route, raw } = self.find_route(topic).await?;
        let parts = encoded.iter().map(|encoded| encoded.bytes().clone());
        let parts = parts.zip(envelopes).collect();
        let entry = |(index, (encoded, envelope)): (usize, (Encoded, &Envelope))| {
            let completion = Completion::Batch(batch.tracker(), index);
            let retry = self.retry_for(topic, envelope, options);
            Entry::new(topic.clone(), encoded, completion, true, retry)
        };
        let entries = encoded.into_iter().zip(envelopes).enumerate().map(entry).collect();
        let accepted = match self.ledger.accept_together(entries, None) {
            AcceptedTogether::Full(entries) => self.wait_for_all(entries).await,
            accepted => accepted,
        };
        let id = match accepted {
            AcceptedTogether::Send(id) => id,
            AcceptedTogether::Behind => return Err(self.held_up()),
            AcceptedTogether::Refused | AcceptedTogether::Full(_) => {
                return Err(self.closed_error());
            }
        };
        let entry = InFlight::new(self.ledger.clone(), id);
        self.transport.send_atomic(&route, OutgoingBatch::new(entry, parts, raw));
        Ok(())
    }

    /// Checks the whole and each envelope, before anything is done about it.
    fn check_atomic(
        &self,
        topic: &Topic,
        envelopes: &[Envelope],
        options: &PublishOptions,
    ) -> Result<Vec<Encoded>, Error> {
        self.check_allowed(options, Room::Wait)?;
        let raw = self.is_raw(topic);
        let check = |envelope: &Envelope| {
            if raw {
                raw::check(envelope)?;
                self.transport.check_raw(topic, envelope)?;
            }
            let encoded = envelope.encode_shared();
            self.check_size(encoded.bytes().len(), Room::Wait)?;
            Ok(encoded)
        };
        let numbered = |(index, envelope)| {
            check(envelope).map_err(|error: Error| error.with_context("index", index))
        };
        let encoded: Vec<_> =
            envelopes.iter().enumerate().map(numbered).collect::<Result<_, _>>()?;
        let config = &self.ledger.config;
        let most = self.capabilities.max_atomic_batch.min(config.max_in_flight);
        let bytes: usize = encoded.iter().map(|encoded| encoded.bytes().len()).sum();
        if encoded.len() <= most && bytes <= config.max_in_flight_bytes {
            return Ok(encoded);
        }
        let message = "an atomic batch has to fit into the window and into what the broker takes; \
                       split it, or raise `max_in_flight` or `max_in_flight_bytes`";
        Err(self
            .error(ErrorKind::TooLarge, message)
            .with_context("envelopes", encoded.len())
            .with_context("limit", most)
            .with_context("bytes", bytes))
    }

    async fn wait_for_all(&self, entries: Vec<Entry>) -> AcceptedTogether {
        self.transport.expedite();
        let bytes = entries.iter().map(Entry::len).sum();
        match self.ledger.queue(entries.len(), bytes) {
            Some(queued) if queued.granted().await => {
                self.ledger.accept_together(entries, Some(queued))
            }
            _ => AcceptedTogether::Refused,
        }
    }

    fn held_up(&self) -> Error {
        self.error(
            ErrorKind::Unavailable,
            "an earlier envelope with a key of this batch waits to be sent again; publish the \
             batch later",
        )
    }
}
