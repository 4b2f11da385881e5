//! A shared bus is a bus, so that decorators can be generic over what they wrap.

use std::{any::Any, future::Future, pin::Pin, sync::Arc};

use super::EventBus;
use crate::{
    BatchError, Capabilities, Envelope, Error, Health, PendingReceipt, PublishError,
    PublishOptions, Receipt, Stats, SubscribeOptions, Subscription, Topic, TopicFilter,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

// Written out rather than with `async_trait`: each method returns the inner future as it is,
// without a second allocation.
impl<B: EventBus + ?Sized> EventBus for Arc<B> {
    fn publish_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<(), PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).publish_opts(topic, envelope, options)
    }

    fn try_publish_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<(), PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).try_publish_opts(topic, envelope, options)
    }

    fn publish_with_receipt_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<PendingReceipt, PublishError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).publish_with_receipt_opts(topic, envelope, options)
    }

    fn publish_batch_opts<'s, 't, 'f>(
        &'s self,
        topic: &'t Topic,
        envelopes: Vec<Envelope>,
        options: PublishOptions,
    ) -> BoxFuture<'f, Result<Vec<Receipt>, BatchError>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).publish_batch_opts(topic, envelopes, options)
    }

    fn subscribe<'s, 't, 'f>(
        &'s self,
        filter: &'t TopicFilter,
        options: SubscribeOptions,
    ) -> BoxFuture<'f, Result<Subscription, Error>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).subscribe(filter, options)
    }

    fn ensure_topic<'s, 't, 'f>(&'s self, topic: &'t Topic) -> BoxFuture<'f, Result<(), Error>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        (**self).ensure_topic(topic)
    }

    fn flush<'s, 'f>(&'s self) -> BoxFuture<'f, Result<(), Error>>
    where
        's: 'f,
        Self: 'f,
    {
        (**self).flush()
    }

    fn close<'s, 'f>(&'s self) -> BoxFuture<'f, Result<(), Error>>
    where
        's: 'f,
        Self: 'f,
    {
        (**self).close()
    }

    fn health<'s, 'f>(&'s self) -> BoxFuture<'f, Health>
    where
        's: 'f,
        Self: 'f,
    {
        (**self).health()
    }

    fn stats(&self) -> Stats {
        (**self).stats()
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn as_any(&self) -> &dyn Any {
        (**self).as_any()
    }
}
