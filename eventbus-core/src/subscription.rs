//! Subscriptions: what an application reads deliveries from.

pub mod dead_letter;
mod delivery;
mod shared;
mod undecodable;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

pub use delivery::{Delivery, DeliveryInfo};
pub(crate) use shared::{Counters, DeadLetters, Shared, now};
use undecodable::Raw;
pub use undecodable::Undecodable;

use crate::{
    Envelope, Error, ErrorKind, RawTopics, ReceiveError, SubscribeOptions, Topic, TopicFilter,
    UndecodablePolicy,
    backend::{Content, Incoming, RawMessage, Source, SourceError},
};
use delivery::Claim;
use shared::Moved;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A stream of deliveries, at least once each.
///
/// Use [`next`](Self::next) or [`try_next`](Self::try_next), or any stream combinator
/// (`ready_chunks` gives batches). Work on deliveries while polling on: redelivery,
/// dead-lettering and shutdown go on inside the stream. Dropping it leaves the group;
/// deliveries that were handed out stay settleable.
pub struct Subscription {
    shared: Arc<Shared>,
    /// Why it cannot go on, until that has been yielded.
    failed: Option<Error>,
    ended: bool,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, failed: None, ended: false }
    }

    /// A subscription that reads from any source, for decorators and test doubles of a bus.
    /// It cannot publish dead letters: messages that would become some stay unsettled.
    #[must_use]
    pub fn from_source(
        filter: TopicFilter,
        options: SubscribeOptions,
        backend: &'static str,
        source: impl Source,
    ) -> Self {
        let (source, dead_letters) = (Box::new(source), Arc::new(NoDeadLetters));
        let (counters, raw) = (Arc::default(), RawTopics::default());
        Self::new(Shared::new(filter, options, backend, source, dead_letters, counters, raw))
    }

    /// The next delivery, or `None` when the subscription was stopped or has failed.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Delivery, ReceiveError>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next delivery, for use with `?`. Cancel-safe.
    ///
    /// # Errors
    /// What [`ReceiveError`] lists; only after `Terminal` does the stream end.
    pub async fn try_next(&mut self) -> Result<Option<Delivery>, ReceiveError> {
        self.next().await.transpose()
    }

    /// A handle that ends this subscription from elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.shared.clone())
    }

    /// What it selects.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        &self.shared.filter
    }

    /// How it was opened.
    #[must_use]
    pub fn options(&self) -> &SubscribeOptions {
        &self.shared.options
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Delivery, ReceiveError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.shared.register(cx.waker());
        loop {
            // What is being moved away is finished first, also at the end.
            let moving = match self.shared.poll_moving(cx) {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => false,
                Poll::Pending => true,
            };
            if !moving && let Some(error) = self.failed.take() {
                self.ended = true;
                self.shared.end();
                return Poll::Ready(Some(Err(ReceiveError::Terminal(error))));
            }
            if self.failed.is_some() || (moving && self.shared.is_moving_enough()) {
                return Poll::Pending;
            }
            match ready!(self.shared.poll_source(cx)) {
                None if moving => return Poll::Pending,
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Some(Ok(incoming)) => {
                    if let Some(item) = self.admit(incoming) {
                        return Poll::Ready(Some(item));
                    }
                }
                Some(Err(SourceError::Truncated(error))) => {
                    return Poll::Ready(Some(Err(ReceiveError::Truncated(error))));
                }
                Some(Err(SourceError::Terminal(error))) => self.failed = Some(error),
            }
        }
    }

    /// Decodes a message and decides whether the application gets it.
    fn admit(&mut self, incoming: Incoming) -> Option<Result<Delivery, ReceiveError>> {
        let exhausted = self.shared.is_exhausted(&incoming);
        let (claim, content) = Claim::new(&self.shared, incoming);
        let decoded = match content {
            Content::Envelope(envelope) => Ok(*envelope),
            Content::Raw(message) => read_raw(*message, &claim),
            Content::Encoded(bytes) => match Envelope::from_bytes(bytes.clone()) {
                Ok(envelope) => Ok(envelope),
                // The backend has no native headers, and this was not published by a bus.
                Err(_) if self.shared.raw.matches(claim.info().topic()) => {
                    read_raw(RawMessage::new(bytes), &claim)
                }
                Err(error) => Err(Raw::new(error, RawMessage::new(bytes))),
            },
        };
        match decoded {
            Ok(envelope) if exhausted => self.shared.set_aside(Moved::Envelope(claim, envelope)),
            Ok(envelope) => {
                self.shared.counters.delivered();
                return Some(Ok(Delivery::claimed(envelope, claim)));
            }
            Err(raw) if exhausted || self.shared.undecodable() == UndecodablePolicy::DeadLetter => {
                self.shared.set_aside(Moved::Raw(claim, raw));
            }
            Err(raw) => {
                self.shared.counters.delivered();
                return Some(Err(ReceiveError::Undecodable(Box::new(raw.claimed(claim)))));
            }
        }
        None
    }
}

fn read_raw(message: RawMessage, claim: &Claim) -> Result<Envelope, Raw> {
    message.decode(claim.info()).map_err(|error| Raw::new(error, message))
}

/// A subscription without a bus has nowhere to publish.
struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    fn publish(&self, _: &Topic, _: Envelope) -> BoxFuture<Result<(), Error>> {
        let message = "a subscription without a bus cannot publish dead letters";
        Box::pin(std::future::ready(Err(Error::new(ErrorKind::Unsupported, message))))
    }
}

impl Stream for Subscription {
    type Item = Result<Delivery, ReceiveError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll(cx)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("filter", &self.shared.filter)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

/// Ends a subscription from elsewhere, for a graceful shutdown: pulling stops at once, what
/// was buffered is released for others, the stream ends, and what was handed out stays
/// settleable.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Stops the subscription. Calling it again is harmless.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("filter", &self.0.filter).finish()
    }
}
