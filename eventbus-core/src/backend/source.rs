//! How a transport delivers messages and takes their settlements.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

use super::RawMessage;
use crate::{Envelope, Error, SubscriptionHealth, Topic};

/// Names one handed-out message of a source until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

/// What a message holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Content {
    /// Bytes in a wire format that the engine recognises.
    Encoded(Bytes),
    /// An envelope that the transport read itself.
    Envelope(Box<Envelope>),
    /// A message of a raw topic, which the engine reads.
    Raw(Box<RawMessage>),
}

/// A message as it comes from the broker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Incoming {
    /// The topic that it was published to.
    pub topic: Topic,
    /// The envelope.
    pub content: Content,
    /// The partition; 0 where there is none.
    pub partition: u32,
    /// The offset or stream sequence.
    pub offset: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When the broker stored it.
    pub published_at: SystemTime,
    /// When it is delivered again if it stays unsettled.
    pub expires: Instant,
    /// The attempt before this one ran out of `ack_wait` while the group was running, and
    /// was not cut short by a shutdown or a crash.
    pub expired_before: bool,
    /// What to settle it by.
    pub token: Token,
}

impl Incoming {
    /// A first attempt at a message; the other fields can be set.
    #[must_use]
    pub fn new(
        topic: Topic,
        content: Content,
        offset: u64,
        token: Token,
        expires: Instant,
    ) -> Self {
        Self {
            topic,
            content,
            partition: 0,
            offset,
            attempt: 1,
            published_at: SystemTime::UNIX_EPOCH,
            expires,
            expired_before: false,
            token,
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// Done: never deliver it again.
    Ack,
    /// Done, and resolve only when the broker has confirmed it.
    AckConfirmed,
    /// Deliver it again after this delay at the earliest, with the next attempt number.
    Nack(Duration),
    /// Start its `ack_wait` anew; it stays unsettled.
    Extend,
    /// Never deliver it again though it was not handled: rejected or exhausted.
    Discard,
}

/// The result of a settlement: known at once, or by waiting for the broker.
pub enum Settling {
    /// Known already.
    Done(Result<(), Error>),
    /// To be awaited.
    Waiting(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>),
}

impl Settling {
    pub(crate) async fn wait(self) -> Result<(), Error> {
        match self {
            Self::Done(result) => result,
            Self::Waiting(future) => future.await,
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}

/// Takes the settlements of a source. It outlives the source: what was handed out stays
/// settleable after the source has stopped or was dropped.
pub trait Settler: Send + Sync + fmt::Debug + 'static {
    /// Settles one message. Another settlement of the same token may follow `Extend` and any
    /// error, and [`abandon`](Self::abandon) any settlement that failed or was cancelled.
    ///
    /// The result is an error of kind `Expired` when the message belongs to a later attempt
    /// by now, or was settled already; of kind `Closed` when the transport is closed.
    fn settle(&self, token: Token, settlement: Settlement) -> Settling;

    /// A delivery was dropped unsettled. It must come again when its `ack_wait` is over.
    fn abandon(&self, token: Token) {
        let _ = token;
    }
}

/// Why a source cannot give the next message.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// It can never go on; it yields nothing after this.
    Terminal(Error),
    /// Messages were removed before they could be delivered; it goes on behind the gap.
    Truncated(Error),
}

/// A stream of messages.
///
/// The source keeps the limits of its options: at most `max_in_flight` messages handed out
/// and not settled (abandoned ones count until their `ack_wait` is over), redelivery
/// after `ack_wait` and after a nack's delay, and with `Ordering::PerKey` one message of a
/// key at a time. Trouble that passes is retried inside and reported by `health`.
pub trait Source: Send + 'static {
    /// The next message, like `Stream::poll_next`. The message counts as handed out.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>>;

    /// What takes the settlements.
    fn settler(&self) -> Arc<dyn Settler>;

    /// Stops pulling and gives back at once what was not handed out. `poll_next` returns
    /// `None` from now on. Called at most once; dropping the source stops it too.
    fn stop(&mut self);

    /// Fills in what is in flight, how long it has been stalled at its limit, and what
    /// trouble it has.
    fn health(&self, health: &mut SubscriptionHealth);
}
