//! How fast the backend is: publish, deliver and acknowledge, next to what `tokio::sync::broadcast`
//! needs to pass an `Arc<Envelope>` on. Both create each envelope, and neither loses one.
//!
//! `cargo run --release -p eventbus-memory --example throughput [MESSAGES] [ROUNDS]`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventbus_core::{Envelope, EventBus, EventBusExt, Registry, SubscribeOptions, Topic};
use tokio::sync::{Semaphore, broadcast};

const TOPIC: Topic = Topic::from_static("throughput");
const PAYLOAD: [u8; 256] = [7; 256];
/// How far a publisher may be ahead of the reader, so that a broadcast loses nothing.
const AHEAD: usize = 4096;

fn envelope() -> Envelope {
    Envelope::new("throughput.event", PAYLOAD.to_vec()).key("key")
}

/// Lets the publisher be at most `AHEAD` messages ahead, in steps that cost next to nothing.
struct Pace(Semaphore);

impl Pace {
    const STEP: usize = AHEAD / 8;

    fn new() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(AHEAD)))
    }

    async fn publish(&self, number: usize) {
        if number.is_multiple_of(Self::STEP) {
            self.0.acquire_many(Self::STEP as u32).await.expect("open").forget();
        }
    }

    fn received(&self, number: usize) {
        if number % Self::STEP == Self::STEP - 1 {
            self.0.add_permits(Self::STEP);
        }
    }
}

async fn memory(messages: usize) -> Duration {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    let bus = registry.builder("memory://").connect().await.expect("a bus");
    let options = SubscribeOptions::group("g");
    let mut reader = bus.subscribe(&TOPIC.filter(), options).await.expect("a subscription");
    let pace = Pace::new();
    let start = Instant::now();
    let publisher = tokio::spawn({
        let (bus, pace) = (bus.clone(), pace.clone());
        async move {
            for number in 0..messages {
                pace.publish(number).await;
                bus.publish(&TOPIC, envelope()).await.expect("accepted");
            }
        }
    });
    for number in 0..messages {
        let delivery = reader.try_next().await.expect("a message").expect("more");
        std::hint::black_box(delivery.envelope());
        delivery.ack().await.expect("acknowledged");
        pace.received(number);
    }
    let elapsed = start.elapsed();
    publisher.await.expect("published");
    bus.close().await.expect("closed");
    elapsed
}

async fn raw(messages: usize) -> Duration {
    let (sender, mut reader) = broadcast::channel::<Arc<Envelope>>(AHEAD);
    let pace = Pace::new();
    let start = Instant::now();
    let publisher = tokio::spawn({
        let pace = pace.clone();
        async move {
            for number in 0..messages {
                pace.publish(number).await;
                sender.send(Arc::new(envelope())).expect("a reader");
            }
        }
    });
    for number in 0..messages {
        let envelope = reader.recv().await.expect("no lag");
        std::hint::black_box(&envelope);
        pace.received(number);
    }
    let elapsed = start.elapsed();
    publisher.await.expect("published");
    elapsed
}

/// Publishing alone, nobody reads.
async fn publish_only(messages: usize) -> Duration {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    let bus: Arc<dyn EventBus> = registry.builder("memory://").connect().await.expect("a bus");
    let start = Instant::now();
    for _ in 0..messages {
        bus.publish(&TOPIC, envelope()).await.expect("accepted");
    }
    start.elapsed()
}

fn rate(messages: usize, elapsed: Duration) -> f64 {
    messages as f64 / elapsed.as_secs_f64() / 1000.0
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let messages = arguments.next().unwrap_or(500_000);
    let rounds = arguments.next().unwrap_or(7);
    for workers in [1, 2] {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(workers).enable_all().build().expect("a runtime");
        let (mut ratios, mut ours, mut theirs, mut alone) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let run = |f: Duration| rate(messages, f);
            let raw =
                run(runtime.block_on(async { tokio::spawn(raw(messages)).await.expect("done") }));
            let memory = run(
                runtime.block_on(async { tokio::spawn(memory(messages)).await.expect("done") })
            );
            alone.push(run(runtime
                .block_on(async { tokio::spawn(publish_only(messages)).await.expect("done") })));
            ratios.push(memory / raw);
            ours.push(memory);
            theirs.push(raw);
        }
        println!("{workers} worker(s), {messages} messages, {rounds} rounds, medians:");
        println!("  memory publish-deliver-ack  {:8.0} k/s", median(ours));
        println!("  broadcast of Arc<Envelope>  {:8.0} k/s", median(theirs));
        println!("  memory publish alone        {:8.0} k/s", median(alone));
        println!("  ratio: median {:.2}, all {ratios:.2?}", median(ratios.clone()));
    }
}
