//! What a subscription, its deliveries and its bus share.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt,
    future::select,
    stream::{FuturesUnordered, StreamExt},
    task::AtomicWaker,
};
use tokio::{sync::Notify, time::timeout_at};

use super::{BoxFuture, Claim, Delivery, dead_letter, undecodable::Raw};
use crate::{
    Envelope, Error, ErrorKind, RawTopics, ReceiveError, Stats, SubscribeOptions,
    SubscriptionHealth, Topic, TopicFilter, UndecodablePolicy,
    backend::{Incoming, Settlement, Settler, Settling, Source, SourceError, Token},
};

/// So many times `max_attempts`, and even attempts that crashes cut short are too many.
const CRASH_LOOP_FACTOR: u32 = 10;

/// Tokio's clock, which tests may pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How many messages move to the dead-letter topic at once; more wait at the broker.
const MAX_MOVING: usize = 16;

/// What a subscription yields.
type Item = Result<Delivery, ReceiveError>;

/// Publishes dead letters.
pub(crate) trait DeadLetters: Send + Sync {
    /// Resolves when the broker has acknowledged it.
    fn publish(&self, topic: &Topic, envelope: Envelope) -> BoxFuture<Result<(), Error>>;
}

/// What all subscriptions of a bus count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    delivered: AtomicU64,
    settled: AtomicU64,
    dead_lettered: AtomicU64,
}

impl Counters {
    pub(crate) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn settled(&self) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dead_lettered(&self) {
        self.dead_lettered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fill(&self, stats: &mut Stats) {
        stats.delivered = self.delivered.load(Ordering::Relaxed);
        stats.settled = self.settled.load(Ordering::Relaxed);
        stats.dead_lettered = self.dead_lettered.load(Ordering::Relaxed);
    }
}

pub(crate) struct Shared {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscribeOptions,
    pub(crate) backend: &'static str,
    pub(crate) dead_letters: Arc<dyn DeadLetters>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) raw: RawTopics,
    settler: Arc<dyn Settler>,
    /// `None` once the subscription has ended.
    source: Mutex<Option<Box<dyn Source>>>,
    reader: AtomicWaker,
    stopped: AtomicBool,
    closed: AtomicBool,
    /// Messages on their way to the dead-letter topic without the application's doing. Driven
    /// by whoever polls the subscription, and by closing.
    moving: Mutex<FuturesUnordered<BoxFuture<Option<Item>>>>,
    /// Whether there may be any, so that the usual poll takes no lock for them.
    any_moving: AtomicBool,
    /// Deliveries that the application holds, and those on the move.
    held: AtomicUsize,
    released: Notify,
    /// When the last of them expires, in nanoseconds after `opened`.
    last_expiry: AtomicU64,
    opened: Instant,
}

impl Shared {
    pub(crate) fn new(
        filter: TopicFilter,
        options: SubscribeOptions,
        backend: &'static str,
        source: Box<dyn Source>,
        dead_letters: Arc<dyn DeadLetters>,
        counters: Arc<Counters>,
        raw: RawTopics,
    ) -> Arc<Self> {
        Arc::new(Self {
            filter,
            options,
            backend,
            dead_letters,
            counters,
            raw,
            settler: source.settler(),
            source: Mutex::new(Some(source)),
            reader: AtomicWaker::new(),
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            moving: Mutex::default(),
            any_moving: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            released: Notify::new(),
            last_expiry: AtomicU64::new(0),
            opened: now(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Source>>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    pub(crate) fn poll_source(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Incoming, SourceError>>> {
        match &mut *self.lock() {
            Some(source) => source.poll_next(cx),
            None => Poll::Ready(None),
        }
    }

    /// No more messages; what was handed out stays settleable.
    pub(crate) fn stop(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            if let Some(source) = &mut *self.lock() {
                source.stop();
            }
            self.reader.wake();
        }
    }

    /// Leaves the group for good.
    pub(crate) fn end(&self) {
        self.stop();
        // Dropped outside the lock: sources have destructors of their own.
        let source = self.lock().take();
        drop(source);
        // They hold this, and give their messages back when dropped.
        let moving = std::mem::take(&mut *self.moving());
        drop(moving);
    }

    /// Ends it, and settles nothing any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.end();
        self.reader.wake();
    }

    pub(crate) fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        if self.closed.load(Ordering::Acquire) {
            return Settling::Done(Err(Error::new(
                ErrorKind::Closed,
                "the bus was closed before the delivery was settled; it will be delivered again",
            )
            .with_backend(self.backend)));
        }
        self.settler.settle(token, settlement)
    }

    pub(crate) fn abandon(&self, token: Token) {
        self.settler.abandon(token);
    }

    pub(crate) fn hold(&self, expires: Instant) {
        self.held.fetch_add(1, Ordering::AcqRel);
        self.expires(expires);
    }

    /// A held delivery expires at `at`.
    pub(crate) fn expires(&self, at: Instant) {
        let nanos = at.saturating_duration_since(self.opened).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.last_expiry.fetch_max(nanos, Ordering::AcqRel);
    }

    pub(crate) fn release(&self) {
        // Only who has stopped the subscription waits for this. Sequentially consistent, so
        // that either this sees that it is stopped, or who waits sees that nothing is held.
        if self.held.fetch_sub(1, Ordering::SeqCst) == 1 && self.stopped.load(Ordering::SeqCst) {
            self.released.notify_waiters();
        }
    }

    /// Resolves when the application holds no delivery that could still be settled, or at
    /// `deadline`.
    pub(crate) async fn settled(&self, deadline: Instant) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            released.as_mut().enable();
            let expiry = Duration::from_nanos(self.last_expiry.load(Ordering::Acquire));
            let until = deadline.min(self.opened + expiry);
            if self.held.load(Ordering::SeqCst) == 0 || now() >= until {
                return;
            }
            let moved = poll_fn(|cx| match self.poll_moving(cx) {
                // Too late for the application: the message comes again.
                Poll::Ready(Some(_)) => Poll::Ready(()),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            });
            let _ = timeout_at(until.into(), select(released, moved)).await;
        }
    }

    fn moving(&self) -> MutexGuard<'_, FuturesUnordered<BoxFuture<Option<Item>>>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on moving messages away. An item is one that cannot be moved and that only the
    /// application can decide about; `None` when nothing is on the move.
    pub(crate) fn poll_moving(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        if !self.any_moving.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        let mut moving = self.moving();
        loop {
            match ready!(moving.poll_next_unpin(cx)) {
                Some(None) => {}
                Some(Some(item)) => return Poll::Ready(Some(item)),
                None => {
                    self.any_moving.store(false, Ordering::Release);
                    return Poll::Ready(None);
                }
            }
        }
    }

    pub(crate) fn is_moving_enough(&self) -> bool {
        self.moving().len() >= MAX_MOVING
    }

    /// Moves a message away while the stream goes on.
    pub(crate) fn set_aside(&self, message: Moved) {
        let moving = self.moving();
        moving.push(message.discard().boxed());
        self.any_moving.store(true, Ordering::Release);
    }

    pub(crate) fn undecodable(&self) -> UndecodablePolicy {
        self.options.undecodable.unwrap_or(match self.options.dead_letter {
            Some(_) => UndecodablePolicy::DeadLetter,
            None => UndecodablePolicy::Yield,
        })
    }

    /// Whether a message had all its attempts before this one: they expired while somebody
    /// was running, or there were so many that its handling must be what crashes processes.
    pub(crate) fn is_exhausted(&self, incoming: &Incoming) -> bool {
        self.options.max_attempts.is_some_and(|most| {
            incoming.attempt > most
                && (incoming.expired_before
                    || incoming.attempt > most.saturating_mul(CRASH_LOOP_FACTOR))
        })
    }

    /// `None` once it has ended.
    pub(crate) fn health(&self) -> Option<SubscriptionHealth> {
        let source = self.lock();
        let source = source.as_ref()?;
        let mut health = SubscriptionHealth::new(self.filter.clone(), self.options.group.clone());
        source.health(&mut health);
        Some(health)
    }
}

/// A message that moves away.
pub(crate) enum Moved {
    Envelope(Claim, Envelope),
    Raw(Claim, Raw),
}

impl Moved {
    /// Moves it. Gives it back when it can be no dead letter, since then trying again is of no
    /// use; after any other error it comes again by itself.
    async fn discard(self) -> Option<Item> {
        match self {
            Self::Envelope(mut claim, envelope) => {
                let moved = claim.discard(&envelope, dead_letter::EXHAUSTED).await;
                is_stuck(&claim, moved).then(|| Ok(Delivery::claimed(envelope, claim)))
            }
            Self::Raw(mut claim, raw) => {
                let (envelope, reason) = raw.dead_letter();
                let moved = claim.discard(&envelope, &reason).await;
                is_stuck(&claim, moved)
                    .then(|| Err(ReceiveError::Undecodable(Box::new(raw.claimed(claim)))))
            }
        }
    }
}

fn is_stuck(claim: &Claim, moved: Result<(), Error>) -> bool {
    let Err(error) = moved else { return false };
    tracing::warn!(
        topic = %claim.info().topic(),
        position = %claim.info().position,
        %error,
        "a message could not be dead-lettered",
    );
    matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::InvalidEnvelope)
}
