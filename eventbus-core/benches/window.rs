//! The engine without a broker: accepting, the window, verdicts and the tracker of batches.
//! `cargo bench -p eventbus-core --bench window`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use criterion::{BatchSize, Criterion, Throughput};
use eventbus_core::{
    Bus, BusConfig, Capabilities, Envelope, Error, EventBusExt, Health, SubscribeOptions,
    SubscriptionHealth, Topic, TopicFilter,
    backend::{
        EntryId, Incoming, Outgoing, Settlement, Settler, Settling, Source, SourceError, Stored,
        Token, Transport, Verdicts, Window,
    },
};

const TOPIC: Topic = Topic::from_static("bench.window");
/// Envelopes of a round.
const MESSAGES: usize = 1024;

/// Stores nothing, and says so at once or when it is asked.
struct Nowhere {
    verdicts: Verdicts,
    /// `None`: at once.
    waiting: Option<Mutex<Vec<EntryId>>>,
}

impl Nowhere {
    fn bus(at_once: bool) -> Bus<Self> {
        let window = Window::new(BusConfig::default(), None);
        let waiting = (!at_once).then(|| Mutex::new(Vec::with_capacity(MESSAGES)));
        let transport = Self { verdicts: window.verdicts(), waiting };
        Bus::start(window, transport)
    }

    /// Gives a verdict to all that wait, as a broker does whose answers come in bulk.
    fn answer(&self) {
        if let Some(waiting) = &self.waiting {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            self.verdicts.complete_all(waiting.drain(..).map(|id| (id, Ok(Stored::default()))));
        }
    }
}

impl Transport for Nowhere {
    type Route = ();
    type Source = Nothing;

    fn backend(&self) -> &'static str {
        "nowhere"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(usize::MAX)
    }

    async fn resolve(&self, _: &Topic) -> Result<(), Error> {
        Ok(())
    }

    fn send(&self, (): &(), outgoing: Outgoing<'_>) {
        match &self.waiting {
            None => outgoing.entry.complete(Ok(Stored::default())),
            Some(waiting) => {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.push(outgoing.entry.into_id());
            }
        }
    }

    async fn subscribe(&self, _: &TopicFilter, _: &SubscribeOptions) -> Result<Nothing, Error> {
        Ok(Nothing)
    }

    async fn ensure_topic(&self, _: &Topic) -> Result<(), Error> {
        Ok(())
    }

    async fn health(&self) -> Health {
        Health::healthy()
    }

    async fn shutdown(&self, _: Instant) {}
}

/// A source that never has anything, and settles it.
#[derive(Debug)]
struct Nothing;

impl Source for Nothing {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        Poll::Pending
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Self)
    }

    fn stop(&mut self) {}

    fn health(&self, _: &mut SubscriptionHealth) {}
}

impl Settler for Nothing {
    fn settle(&self, _: Token, _: Settlement) -> Settling {
        Settling::Done(Ok(()))
    }
}

fn envelopes() -> Vec<Envelope> {
    let envelope = |at| Envelope::new("order.created", vec![7; 256]).key(format!("key-{at}"));
    (0..MESSAGES).map(|at| envelope(at % 64)).collect()
}

/// Accepts envelopes, at most as many as the window holds, and has their verdicts given.
async fn publish(bus: &Bus<Nowhere>, envelopes: Vec<Envelope>) {
    for envelope in envelopes {
        bus.publish(&TOPIC, envelope).await.expect("accepted");
    }
    bus.transport().answer();
}

async fn publish_sync(bus: &Bus<Nowhere>, envelopes: Vec<Envelope>) {
    for envelope in envelopes {
        bus.publish_sync(&TOPIC, envelope).await.expect("stored");
    }
}

async fn publish_batch(bus: &Bus<Nowhere>, envelopes: Vec<Envelope>) {
    bus.publish_batch(&TOPIC, envelopes).await.expect("stored");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let at_once = runtime.block_on(async { Nowhere::bus(true) });
    let in_bulk = runtime.block_on(async { Nowhere::bus(false) });
    let mut group = criterion.benchmark_group("window, accept and complete");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("publish, verdicts at once", |bencher| {
        let round = |envelopes| runtime.block_on(publish(&at_once, envelopes));
        bencher.iter_batched(envelopes, round, BatchSize::SmallInput);
    });
    group.bench_function("publish, verdicts in bulk", |bencher| {
        let round = |envelopes| runtime.block_on(publish(&in_bulk, envelopes));
        bencher.iter_batched(envelopes, round, BatchSize::SmallInput);
    });
    group.bench_function("publish_sync", |bencher| {
        let round = |envelopes| runtime.block_on(publish_sync(&at_once, envelopes));
        bencher.iter_batched(envelopes, round, BatchSize::SmallInput);
    });
    group.bench_function("publish_batch, by its tracker", |bencher| {
        let round = |envelopes| runtime.block_on(publish_batch(&at_once, envelopes));
        bencher.iter_batched(envelopes, round, BatchSize::SmallInput);
    });
    group.finish();
    criterion.final_summary();
}
