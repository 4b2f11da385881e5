//! The transport, its source and its settler.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use async_trait::async_trait;
use eventbus_core::{
    Bus, Capabilities, Error, ErrorKind, EventBus, Health, Provision, SubscribeOptions,
    SubscriptionHealth, Topic, TopicFilter,
    backend::{
        Connect, Connector, Content, Incoming, Outgoing, Settlement, Settler, Settling, Source,
        SourceError, Stored, Token, Transport, Window,
    },
};
use tokio::time::{Sleep, sleep_until};

use super::{cursor::Asker, log::Log};

pub(super) const SCHEME: &str = "outside";

/// Connects `outside://` URLs to one log.
pub(super) struct OutsideConnector(pub(super) Arc<Log>);

#[async_trait]
impl Connector for OutsideConnector {
    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn EventBus>, Error> {
        request.url.parameters.finish([])?;
        if !request.url.authority().is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "there is only `outside://`"));
        }
        let provision = request.config.provision;
        let window = Window::new(request.config, request.on_failure);
        let bus = self.0.lock().number();
        let transport = OutsideTransport { log: self.0.clone(), bus, provision };
        Ok(Arc::new(Bus::start(window, transport)))
    }
}

struct OutsideTransport {
    log: Arc<Log>,
    bus: u64,
    provision: Provision,
}

impl OutsideTransport {
    fn leave(&self) {
        let mut log = self.log.lock();
        for cursor in log.cursors.values_mut() {
            cursor.forget_bus(self.bus);
        }
        log.wake_all();
    }
}

impl Drop for OutsideTransport {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Transport for OutsideTransport {
    type Route = Topic;
    type Source = OutsideSource;

    fn backend(&self) -> &'static str {
        SCHEME
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(4 << 20);
        capabilities.per_key_across_group = true;
        capabilities.shared_messages = true;
        capabilities.start_at_time = true;
        capabilities
    }

    async fn resolve(&self, topic: &Topic) -> Result<Topic, Error> {
        if self.provision == Provision::Create || self.log.lock().topics.contains(topic) {
            return Ok(topic.clone());
        }
        Err(Error::new(ErrorKind::TopicNotFound, "create it with `ensure_topic`"))
    }

    fn send(&self, topic: &Topic, outgoing: Outgoing<'_>) {
        let key = outgoing.envelope.aggregate_id();
        let offset = self.log.lock().append(topic, outgoing.encoded, key);
        outgoing.entry.complete(Ok(Stored::at(0, Some(offset))));
    }

    async fn subscribe(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<OutsideSource, Error> {
        let mut log = self.log.lock();
        let (cursor, source) = (log.open(filter, options), log.number());
        let settler = Arc::new(OutsideSettler { log: self.log.clone(), cursor });
        Ok(OutsideSource {
            settler,
            bus: self.bus,
            source,
            most: options.max_in_flight,
            own_cursor: options.group.is_none(),
            timer: None,
            stalled: None,
            stopped: false,
        })
    }

    async fn ensure_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.log.lock().topics.insert(topic.clone());
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::healthy()
    }

    async fn shutdown(&self, _: Instant) {
        self.leave();
    }
}

struct OutsideSource {
    settler: Arc<OutsideSettler>,
    bus: u64,
    source: u64,
    most: usize,
    own_cursor: bool,
    timer: Option<Pin<Box<Sleep>>>,
    stalled: Option<Instant>,
    stopped: bool,
}

impl Source for OutsideSource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        if self.stopped {
            return Poll::Ready(None);
        }
        loop {
            let mut guard = self.settler.log.lock();
            let log = &mut *guard;
            let token = Token(log.number());
            let asker = Asker { bus: self.bus, source: self.source, token };
            let Some(cursor) = log.cursors.get_mut(&self.settler.cursor) else {
                return Poll::Ready(None);
            };
            if cursor.held_by(self.source) < self.most {
                self.stalled = None;
                if let Some(handed) = cursor.hand_out(&log.records, asker) {
                    let record = &log.records[handed.at];
                    let (topic, content) = (record.topic.clone(), record.bytes.clone());
                    let (content, offset) = (Content::Encoded(content), handed.at as u64);
                    let mut incoming = Incoming::new(topic, content, offset, token, handed.until);
                    incoming.attempt = handed.attempt;
                    incoming.expired_before = handed.expired;
                    incoming.published_at = record.at;
                    return Poll::Ready(Some(Ok(incoming)));
                }
            } else {
                self.stalled.get_or_insert_with(Instant::now);
            }
            self.timer = cursor.next_change().map(|at| Box::pin(sleep_until(at.into())));
            log.waiting.insert(self.source, cx.waker().clone());
            drop(guard);
            let timer = self.timer.as_mut().map(|timer| timer.as_mut().poll(cx));
            if timer != Some(Poll::Ready(())) {
                return Poll::Pending;
            }
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.settler.clone()
    }

    fn stop(&mut self) {
        // Nothing is buffered, so there is nothing to give back.
        self.stopped = true;
    }

    fn health(&self, health: &mut SubscriptionHealth) {
        let log = self.settler.log.lock();
        let cursor = log.cursors.get(&self.settler.cursor);
        health.in_flight = cursor.map_or(0, |cursor| cursor.held_by(self.source));
        health.stalled =
            self.stalled.filter(|_| health.in_flight >= self.most).map(|at| at.elapsed());
    }
}

impl Drop for OutsideSource {
    fn drop(&mut self) {
        let mut log = self.settler.log.lock();
        log.waiting.remove(&self.source);
        if self.own_cursor {
            log.cursors.remove(&self.settler.cursor);
        }
        log.wake_all();
    }
}

struct OutsideSettler {
    log: Arc<Log>,
    cursor: u64,
}

impl Settler for OutsideSettler {
    fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        let mut log = self.log.lock();
        // The position of a reader without a group is gone with it.
        let settled =
            log.cursors.get_mut(&self.cursor).map(|cursor| cursor.settle(token, settlement));
        log.wake_all();
        Settling::Done(settled.unwrap_or(Ok(())))
    }
}

impl fmt::Debug for OutsideSettler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideSettler").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
