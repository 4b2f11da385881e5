//! What the engine adds to a source: exhausted and undecodable messages move away while the
//! stream goes on, and also while it is not polled.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use eventbus_core::{
    Bus, BusConfig, Capabilities, Envelope, Error, ErrorKind, EventBus, Health, ReceiveError,
    SubscribeOptions, Subscription, SubscriptionHealth, Topic, TopicFilter,
    backend::{
        Content, EntryId, Incoming, Outgoing, Settlement, Settler, Settling, Source, SourceError,
        Stored, Token, Transport, Verdicts, Window,
    },
};

const TOPIC: Topic = Topic::from_static("orders.created");
const DEAD: Topic = Topic::from_static("dead");
const LIMIT: usize = 1 << 20;

/// What became of the messages, by token.
#[derive(Debug, Default)]
struct Settled(Mutex<Vec<(u64, Option<Settlement>)>>);

impl Settler for Settled {
    fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        self.0.lock().unwrap().push((token.0, Some(settlement)));
        Settling::Done(Ok(()))
    }

    fn abandon(&self, token: Token) {
        self.0.lock().unwrap().push((token.0, None));
    }
}

type Items = VecDeque<Result<Incoming, SourceError>>;

struct Prepared {
    items: Items,
    settled: Arc<Settled>,
    stopped: bool,
}

impl Source for Prepared {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        match self.items.pop_front() {
            _ if self.stopped => Poll::Ready(None),
            Some(item) => Poll::Ready(Some(item)),
            None => Poll::Pending,
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.settled.clone()
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn health(&self, _: &mut SubscriptionHealth) {}
}

/// Keeps what is published until the test stores it.
struct Holding {
    items: Mutex<Items>,
    settled: Arc<Settled>,
    verdicts: Verdicts,
    held: Mutex<Vec<EntryId>>,
}

impl Holding {
    fn store_all(&self) {
        for id in std::mem::take(&mut *self.held.lock().unwrap()) {
            self.verdicts.complete(id, Ok(Stored::at(0, None)));
        }
    }
}

impl Transport for Holding {
    type Route = ();
    type Source = Prepared;

    fn backend(&self) -> &'static str {
        "holding"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(LIMIT)
    }

    async fn resolve(&self, _: &Topic) -> Result<(), Error> {
        Ok(())
    }

    fn send(&self, (): &(), outgoing: Outgoing<'_>) {
        self.held.lock().unwrap().push(outgoing.entry.into_id());
    }

    async fn subscribe(&self, _: &TopicFilter, _: &SubscribeOptions) -> Result<Prepared, Error> {
        let items = std::mem::take(&mut *self.items.lock().unwrap());
        Ok(Prepared { items, settled: self.settled.clone(), stopped: false })
    }

    async fn ensure_topic(&self, _: &Topic) -> Result<(), Error> {
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::healthy()
    }

    async fn shutdown(&self, _: Instant) {}
}

fn message(number: u64, content: Content) -> Result<Incoming, SourceError> {
    let expires = Instant::now() + Duration::from_secs(30);
    Ok(Incoming::new(TOPIC, content, number, Token(number), expires))
}

/// A message whose only attempt has expired.
fn exhausted(number: u64) -> Result<Incoming, SourceError> {
    let mut incoming = message(number, Content::Envelope(Box::new(Envelope::new("e", "x"))))?;
    incoming.attempt = 2;
    incoming.expired_before = true;
    Ok(incoming)
}

async fn open(items: Items) -> (Bus<Holding>, Subscription) {
    let window = Window::new(BusConfig::default(), None);
    let transport = Holding {
        items: Mutex::new(items),
        settled: Arc::default(),
        verdicts: window.verdicts(),
        held: Mutex::default(),
    };
    let bus = Bus::start(window, transport);
    let options = SubscribeOptions::group("g").max_attempts(1).dead_letter(DEAD);
    let subscription = bus.subscribe(&TOPIC.filter(), options).await.unwrap();
    (bus, subscription)
}

/// Polls until nothing more comes by itself.
async fn poll_once(
    subscription: &mut Subscription,
) -> Option<Option<Result<eventbus_core::Delivery, ReceiveError>>> {
    tokio::select! {
        biased;
        item = subscription.next() => Some(item),
        () = tokio::task::yield_now() => None,
    }
}

#[tokio::test]
async fn terminal_error_comes_after_what_is_being_moved() {
    let end = SourceError::Terminal(Error::new(ErrorKind::Rejected, "deleted"));
    let (bus, mut subscription) = open([exhausted(1), Err(end)].into()).await;
    assert!(poll_once(&mut subscription).await.is_none());
    bus.transport().store_all();
    let item = subscription.next().await.unwrap();
    assert!(matches!(item, Err(ReceiveError::Terminal(_))), "{item:?}");
    assert!(subscription.next().await.is_none());
    assert_eq!(*bus.transport().settled.0.lock().unwrap(), [(1, Some(Settlement::Ack))]);
}

#[tokio::test]
async fn closing_finishes_what_an_unpolled_subscription_is_moving() {
    let (bus, mut subscription) = open([exhausted(1)].into()).await;
    assert!(poll_once(&mut subscription).await.is_none());
    bus.transport().store_all();
    let started = Instant::now();
    bus.close().await.unwrap();
    assert!(started.elapsed() < bus.config().close_timeout, "it did not wait for the reader");
    assert_eq!(*bus.transport().settled.0.lock().unwrap(), [(1, Some(Settlement::Ack))]);
}

#[tokio::test]
async fn message_too_large_to_be_a_dead_letter_is_yielded() {
    let raw = Content::Encoded(vec![b'x'; LIMIT].into());
    let (_bus, mut subscription) = open([message(1, raw)].into()).await;
    let item = subscription.next().await.unwrap();
    let Err(ReceiveError::Undecodable(raw)) = item else { panic!("{item:?}") };
    assert_eq!(raw.bytes().len(), LIMIT);
    raw.ack().await.unwrap();
}

#[tokio::test]
async fn dropped_subscription_gives_back_what_it_was_moving() {
    let (bus, mut subscription) = open([exhausted(1)].into()).await;
    assert!(poll_once(&mut subscription).await.is_none());
    drop(subscription);
    assert_eq!(*bus.transport().settled.0.lock().unwrap(), [(1, None)]);
}
