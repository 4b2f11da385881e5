//! The short methods of a bus.

use std::{future::Future, pin::Pin};

use serde::Serialize;

use super::EventBus;
use crate::{
    BatchError, Envelope, Error, PendingReceipt, PublishError, PublishOptions, Receipt, Topic,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The methods of [`EventBus`] with default options, for every bus.
pub trait EventBusExt: EventBus {
    /// [`publish_opts`](EventBus::publish_opts) with the options of the bus.
    fn publish<'a>(
        &'a self,
        topic: &'a Topic,
        envelope: Envelope,
    ) -> BoxFuture<'a, Result<(), PublishError>> {
        self.publish_opts(topic, envelope, PublishOptions::new())
    }

    /// [`try_publish_opts`](EventBus::try_publish_opts) with the options of the bus.
    fn try_publish<'a>(
        &'a self,
        topic: &'a Topic,
        envelope: Envelope,
    ) -> BoxFuture<'a, Result<(), PublishError>> {
        self.try_publish_opts(topic, envelope, PublishOptions::new())
    }

    /// [`publish_with_receipt_opts`](EventBus::publish_with_receipt_opts) with the options
    /// of the bus.
    fn publish_with_receipt<'a>(
        &'a self,
        topic: &'a Topic,
        envelope: Envelope,
    ) -> BoxFuture<'a, Result<PendingReceipt, PublishError>> {
        self.publish_with_receipt_opts(topic, envelope, PublishOptions::new())
    }

    /// [`publish_batch_opts`](EventBus::publish_batch_opts) with the options of the bus.
    fn publish_batch<'a>(
        &'a self,
        topic: &'a Topic,
        envelopes: Vec<Envelope>,
    ) -> BoxFuture<'a, Result<Vec<Receipt>, BatchError>> {
        self.publish_batch_opts(topic, envelopes, PublishOptions::new())
    }

    /// Publishes one envelope and waits for its acknowledgement:
    /// [`publish_with_receipt`](Self::publish_with_receipt), awaited. Cancelled after the
    /// envelope was accepted, a failure goes to the failure handler.
    ///
    /// # Errors
    /// Any reason not to accept or store it, with the envelope.
    fn publish_sync<'a>(
        &'a self,
        topic: &'a Topic,
        envelope: Envelope,
    ) -> impl Future<Output = Result<Receipt, PublishError>> + Send + 'a {
        async move { self.publish_with_receipt(topic, envelope).await?.await }
    }

    /// Publishes `payload` as JSON, asynchronously.
    ///
    /// # Errors
    /// `InvalidEnvelope` when it cannot be serialised, and those of
    /// [`publish_opts`](EventBus::publish_opts).
    fn publish_json<'a, P: Serialize + Sync + ?Sized>(
        &'a self,
        topic: &'a Topic,
        event_type: &'a str,
        payload: &'a P,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'a {
        async move {
            let envelope = Envelope::json(event_type, payload)?;
            Ok(self.publish(topic, envelope).await?)
        }
    }
}

impl<B: EventBus + ?Sized> EventBusExt for B {}
