//! The trait that applications use.

mod ext;
mod forward;

use std::any::Any;

use async_trait::async_trait;

pub use ext::EventBusExt;

use crate::{
    BatchError, Capabilities, Envelope, Error, Health, PendingReceipt, PublishError,
    PublishOptions, Receipt, Stats, SubscribeOptions, Subscription, Topic, TopicFilter,
};

/// An event bus: publish, subscribe, flush, close. `Arc<dyn EventBus>` is the normal form.
///
/// These are the required methods; applications mostly call the short ones of
/// [`EventBusExt`]. The trait can be implemented outside, for decorators: forward each
/// method, returning the inner future as it is.
///
/// # What a publisher may rely on
/// An accepted envelope gets exactly one verdict: acknowledged by the broker, or handed
/// back with its error, to whoever waits for it or else to the failure handler. A refused
/// one comes back inside the error. What one task publishes to one topic with one key over
/// one live connection is stored in that order.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes asynchronously: resolves when the envelope is accepted, that is, in the
    /// bounded window and in the send queue. While the window is full it waits, first come
    /// first served. A later failure reaches the failure handler.
    ///
    /// Cancel-safe: while the future is pending the envelope was not accepted.
    ///
    /// # Errors
    /// `TooLarge`, `TopicNotFound`, `Unsupported`, `Closed` and what finding the topic at the
    /// broker can say; with the envelope, which was not accepted.
    async fn publish_opts(
        &self,
        topic: &Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> Result<(), PublishError>;

    /// Like [`publish_opts`](Self::publish_opts), but a full window refuses at once. (The
    /// first publish to a topic still finds the topic first.)
    ///
    /// # Errors
    /// `WindowFull`, and those of `publish_opts`.
    async fn try_publish_opts(
        &self,
        topic: &Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> Result<(), PublishError>;

    /// Like [`publish_opts`](Self::publish_opts), and gives a future of the verdict.
    ///
    /// # Errors
    /// Those of `publish_opts`; the receipt yields the later ones.
    async fn publish_with_receipt_opts(
        &self,
        topic: &Topic,
        envelope: Envelope,
        options: PublishOptions,
    ) -> Result<PendingReceipt, PublishError>;

    /// Publishes many envelopes in order and resolves when each is acknowledged or failed.
    /// The batch may be larger than the window. The receipts are in the order of the batch.
    ///
    /// Cancelling it leaves what was accepted in flight, with later failures going to the
    /// failure handler; what was not accepted is dropped with the future.
    ///
    /// # Errors
    /// [`BatchError`] when at least one envelope was not stored: each with index, error and
    /// envelope, and the receipts of the others. [`PublishOptions::atomic`] needs a capability.
    async fn publish_batch_opts(
        &self,
        topic: &Topic,
        envelopes: Vec<Envelope>,
        options: PublishOptions,
    ) -> Result<Vec<Receipt>, BatchError>;

    /// Subscribes to all topics that `filter` selects, those created later included.
    /// Resolves when the start is fixed: all that is published afterwards is delivered.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// `GroupConflict` naming the difference to the existing group, `InvalidConfig` (for
    /// example a dead-letter topic inside the filter), `Unsupported`, `TopicNotFound`, `Closed`.
    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: SubscribeOptions,
    ) -> Result<Subscription, Error>;

    /// Creates `topic` if it does not exist, whatever the provisioning setting. Cancel-safe.
    ///
    /// # Errors
    /// `TopicConflict` when it exists and does not fit, `PermissionDenied`, `Unavailable`.
    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error>;

    /// Waits until all that was accepted before the call has its verdict and every failure
    /// among it has been handled. Later publishers neither block nor delay it. Cancel-safe.
    ///
    /// # Errors
    /// `AckTimeout` when that takes longer than one and a half `ack_timeout`s (plus
    /// `retry_max_elapsed` where the backend retries by itself), which only retries of the
    /// engine and a slow failure handler can cause.
    async fn flush(&self) -> Result<(), Error>;

    /// Refuses new work, ends all subscriptions, waits up to `close_timeout` for verdicts
    /// and for handed-out deliveries to be settled, hands the rest to the failure handler
    /// and stops everything. Afterwards no task, thread or connection is left.
    /// Calling it again is harmless. Cancel-safe: call it again to go on.
    ///
    /// # Errors
    /// `AckTimeout` when not everything had its verdict in time.
    async fn close(&self) -> Result<(), Error>;

    /// Asks how the connection, the broker and the subscriptions are doing. Cancel-safe.
    async fn health(&self) -> Health;

    /// What the bus has done so far.
    fn stats(&self) -> Stats;

    /// What the backend can do.
    fn capabilities(&self) -> Capabilities;

    /// The escape hatch: downcast to the backend's own [`Bus`](crate::Bus) to reach its
    /// transport and client.
    fn as_any(&self) -> &dyn Any;
}
