//! A transport whose verdicts the test decides, built with nothing but the public interface.

#![allow(dead_code, reason = "no test file needs all of it")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use eventbus_core::{
    Bus, BusConfig, Capabilities, Envelope, Error, FailureHandler, Health, PublishFailure,
    SubscribeOptions, SubscriptionHealth, Topic, TopicFilter,
    backend::{
        EntryId, InFlight, Incoming, Outgoing, OutgoingBatch, Settlement, Settler, Settling,
        Source, SourceError, Stored, Token, Transport, Verdicts, Window,
    },
};

/// What the transport makes of an envelope.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Store,
    Fail(Error),
    HandBack(Error),
    /// The verdict comes when the test gives it.
    Silence,
    /// The entry is dropped.
    Lose,
}

type Script = Box<dyn FnMut(&Sent) -> Answer + Send>;

#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) id: EntryId,
    pub(crate) key: Option<String>,
    pub(crate) event_type: String,
    pub(crate) idempotent: bool,
    pub(crate) raw: bool,
}

pub(crate) struct Scripted {
    script: Mutex<Script>,
    capabilities: Capabilities,
    pub(crate) verdicts: Verdicts,
    pub(crate) sent: Mutex<Vec<Sent>>,
    pub(crate) stored: Mutex<Vec<Sent>>,
    /// While set, topics are never found.
    pub(crate) lost: AtomicBool,
}

impl Scripted {
    /// The types of the envelopes in `list`.
    pub(crate) fn types(list: &Mutex<Vec<Sent>>) -> Vec<String> {
        list.lock().unwrap().iter().map(|sent| sent.event_type.clone()).collect()
    }

    /// Asks the script about the first and does so with all.
    fn answer(&self, entry: InFlight, all: &[Sent]) {
        self.sent.lock().unwrap().extend_from_slice(all);
        let answer = (self.script.lock().unwrap())(&all[0]);
        match answer {
            Answer::Store => {
                let first = self.store(&all[0]);
                for sent in &all[1..] {
                    self.store(sent);
                }
                entry.complete(Ok(first));
            }
            Answer::Fail(error) => entry.complete(Err(error)),
            Answer::HandBack(error) => entry.retry(error),
            Answer::Silence => drop(entry.into_id()),
            Answer::Lose => drop(entry),
        }
    }

    pub(crate) fn store(&self, sent: &Sent) -> Stored {
        let mut stored = self.stored.lock().unwrap();
        stored.push(sent.clone());
        Stored::at(0, Some(stored.len() as u64 - 1))
    }
}

pub(crate) fn failures() -> (Arc<Mutex<Vec<PublishFailure>>>, FailureHandler) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let seen = seen.clone();
        Arc::new(move |failure| seen.lock().unwrap().push(failure))
    };
    (seen, handler)
}

pub(crate) fn bus(
    config: BusConfig,
    on_failure: FailureHandler,
    script: impl FnMut(&Sent) -> Answer + Send + 'static,
) -> Bus<Scripted> {
    let mut capabilities = Capabilities::new(usize::MAX);
    capabilities.idempotent_publish = true;
    bus_with(capabilities, config, on_failure, script)
}

pub(crate) fn bus_with(
    capabilities: Capabilities,
    config: BusConfig,
    on_failure: FailureHandler,
    script: impl FnMut(&Sent) -> Answer + Send + 'static,
) -> Bus<Scripted> {
    let window = Window::new(config, Some(on_failure));
    let transport = Scripted {
        script: Mutex::new(Box::new(script)),
        capabilities,
        verdicts: window.verdicts(),
        sent: Mutex::default(),
        stored: Mutex::default(),
        lost: AtomicBool::new(false),
    };
    Bus::start(window, transport)
}

impl Transport for Scripted {
    type Route = ();
    type Source = Silent;

    fn backend(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn resolve(&self, _: &Topic) -> Result<(), Error> {
        if self.lost.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn send(&self, (): &(), outgoing: Outgoing<'_>) {
        let sent = Sent {
            id: outgoing.entry.id(),
            key: outgoing.envelope.aggregate_id().map(str::to_owned),
            event_type: outgoing.envelope.event_type().to_owned(),
            idempotent: outgoing.options.idempotent,
            raw: outgoing.raw,
        };
        self.answer(outgoing.entry, &[sent]);
    }

    fn send_atomic(&self, (): &(), batch: OutgoingBatch<'_>) {
        let id = batch.entry.id();
        let sent = |envelope: &Envelope| Sent {
            id,
            key: envelope.aggregate_id().map(str::to_owned),
            event_type: envelope.event_type().to_owned(),
            idempotent: false,
            raw: batch.raw,
        };
        let all: Vec<_> = batch.envelopes.iter().map(|(_, envelope)| sent(envelope)).collect();
        self.answer(batch.entry, &all);
    }

    async fn subscribe(&self, _: &TopicFilter, _: &SubscribeOptions) -> Result<Silent, Error> {
        Ok(Silent(VecDeque::new()))
    }

    async fn ensure_topic(&self, _: &Topic) -> Result<(), Error> {
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::healthy()
    }

    async fn shutdown(&self, _: Instant) {}
}

/// A source without messages.
#[derive(Debug)]
pub(crate) struct Silent(VecDeque<Incoming>);

#[derive(Debug)]
struct Deaf;

impl Settler for Deaf {
    fn settle(&self, _: Token, _: Settlement) -> Settling {
        Settling::Done(Ok(()))
    }
}

impl Source for Silent {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        self.0.pop_front().map_or(Poll::Pending, |incoming| Poll::Ready(Some(Ok(incoming))))
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Deaf)
    }

    fn stop(&mut self) {}

    fn health(&self, _: &mut SubscriptionHealth) {}
}
