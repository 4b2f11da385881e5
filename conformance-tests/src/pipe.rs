//! The proof of `eventbus pipe`: NATS to Kafka to NATS by the real program, with each broker
//! killed and one pipe interrupted on the way, and a check of what arrived.

mod program;
mod table;
mod watch;

use std::{sync::Arc, time::Duration};

use clap::Args;
use eventbus_conformance::{
    Failure, Result, within,
    workload::{Attempt, History, Outcome, Value, check, read_whole},
};
use eventbus_core::{EventBus, EventBusExt, Registry, Topic};
use test_brokers::{Kafka, Nats};

use program::{Pipe, Summary};
use table::{Hop, Table};
use watch::Watch;

const TOPIC: Topic = Topic::from_static("pipe.proof");
/// What the pipes are told to copy.
const FILTER: &str = "pipe.>";
const BATCH: u64 = 2000;
/// How many events a pipe has under way by default.
const WINDOW: u64 = 1024;

/// What the pipes are to copy.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How many events.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(100..))]
    events: u64,
    /// How many keys they have.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// How many seconds a broker stays away.
    #[arg(long, default_value_t = 2)]
    outage: u64,
}

/// The brokers, in the order in which events reach them.
struct Brokers {
    first: Nats,
    middle: Kafka,
    last: Nats,
}

impl Brokers {
    async fn start() -> Result<Self> {
        let (first, middle, last) = tokio::try_join!(Nats::start(), Kafka::start(), Nats::start())?;
        println!(
            "NATS {} to Kafka {} to NATS {}",
            first.version(),
            middle.version(),
            last.version()
        );
        Ok(Self { first, middle, last })
    }
}

/// Runs the proof; true when nothing was lost and each key kept its order.
///
/// # Errors
/// When a broker or the program does not start, or nothing arrives any more.
pub async fn run(options: Options) -> Result<bool> {
    program::build().await?;
    let brokers = Brokers::start().await?;
    let first = connect(brokers.first.url()).await?;
    let middle = connect(brokers.middle.url()).await?;
    let last = connect(brokers.last.url()).await?;
    let attempts = fill(&first, &options).await?;
    println!("{} events with {} keys are on the first broker", attempts.len(), options.keys);
    let summaries = pipe_under_fire(&options, &brokers, &middle, &last).await?;
    let mut table = Table::default();
    for ((name, bus), summary) in
        [("NATS to Kafka", &middle), ("Kafka to NATS", &last)].into_iter().zip(summaries)
    {
        let report = check(&history(bus, &options, &attempts).await?);
        if !report.keeps(&table::promises()) {
            println!("{name}: {report}");
        }
        table.add(Hop { name, summary, report });
    }
    println!("\n{table}");
    for bus in [first, middle, last] {
        within("a close", bus.close()).await??;
    }
    Ok(table.broken() == 0)
}

async fn connect(url: &str) -> Result<Arc<dyn EventBus>> {
    let mut registry = Registry::new();
    eventbus_nats::register(&mut registry);
    eventbus_kafka::register(&mut registry);
    let bus = registry.builder(url).connect().await?;
    bus.ensure_topic(&TOPIC).await?;
    Ok(bus)
}

/// Publishes the values in order, each acknowledged.
async fn fill(bus: &Arc<dyn EventBus>, options: &Options) -> Result<Vec<Attempt>> {
    let value = |n: u64| Value::new((n % u64::from(options.keys)) as u32, 0, n);
    for from in (0..options.events).step_by(BATCH as usize) {
        let batch = (from..options.events.min(from + BATCH)).map(|n| value(n).to_envelope(200));
        bus.publish_batch(&TOPIC, batch.collect()).await?;
    }
    Ok((0..options.events).map(|n| Attempt::new(value(n), Outcome::Acknowledged)).collect())
}

/// Both pipes at once, and what happens to them and to the brokers.
async fn pipe_under_fire(
    options: &Options,
    brokers: &Brokers,
    middle: &Arc<dyn EventBus>,
    last: &Arc<dyn EventBus>,
) -> Result<[Summary; 2]> {
    let (at_middle, at_last) = (Watch::start(middle).await?, Watch::start(last).await?);
    let start_first = || Pipe::start(brokers.first.url(), brokers.middle.url());
    let mut pipes =
        [start_first().await?, Pipe::start(brokers.middle.url(), brokers.last.url()).await?];
    let share = |percent: u64| options.events * percent / 100;
    let outage = Duration::from_secs(options.outage);

    at_middle.reaches(share(10), &mut pipes).await?;
    println!("interrupting the first pipe, and starting it again");
    let [interrupted, _] = &mut pipes;
    let begun = interrupted.interrupt().await?;
    *interrupted = start_first().await?;

    // What the first one gave back the server has in its memory only: killed before that has come
    // again, it delivers newer events first.
    let given_back = (begun.copied + WINDOW).min(share(60));
    at_middle.reaches(share(25).max(given_back), &mut pipes).await?;
    println!("kill -9 of the first NATS at {} of {}", at_middle.count(), options.events);
    brokers.first.kill();
    tokio::time::sleep(outage).await;
    brokers.first.restart().await?;

    at_middle.reaches(share(50), &mut pipes).await?;
    println!("kill -9 of Kafka at {} of {}", at_middle.count(), options.events);
    brokers.middle.kill();
    tokio::time::sleep(outage).await;
    brokers.middle.restart().await?;

    at_last.reaches(share(70), &mut pipes).await?;
    println!("kill -9 of the last NATS at {} of {}", at_last.count(), options.events);
    brokers.last.kill();
    tokio::time::sleep(outage).await;
    brokers.last.restart().await?;

    at_last.reaches(options.events, &mut pipes).await?;
    let [mut first, mut second] = pipes;
    Ok([begun.and(first.interrupt().await?), second.interrupt().await?])
}

async fn history(
    bus: &Arc<dyn EventBus>,
    options: &Options,
    attempts: &[Attempt],
) -> Result<History> {
    let stored = read_whole(bus, &TOPIC, options.keys).await?;
    let mut history = History::default();
    history.attempts = attempts.to_vec();
    let value = |message: Option<(Value, _)>| message.map(|(value, _)| value);
    history.stored = stored.into_iter().map(|(message, at)| (value(message), at)).collect();
    if history.stored.is_empty() {
        return Err(Failure::new("nothing arrived"));
    }
    Ok(history)
}
