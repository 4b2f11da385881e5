//! `eventbus bench`.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use clap::{Args, ValueEnum};
use eventbus::{PublishFailure, Topic};
use eventbus_bench::{Load, Mode};

use crate::{
    args::Global,
    connect::Target,
    exit::{Exit, Failure, complain},
    output::{count, out},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  eventbus bench                                       100,000 messages through memory
  eventbus bench --mode sync --messages 10000          one by one: the latency of a receipt
  eventbus bench --mode consume --json                 one row of figures for a program
  eventbus bench --messages 1000000 --publishers 4 --end-to-end
  eventbus bench --keys 1000 --topics 1000             the same spread over many topics

Acknowledged messages count, from the first publish to the last verdict. Order is checked
by reading the topic back after the clock has stopped (--no-verify leaves that out). The
tasks and the memory are those of the whole process; the load's own tasks are left out.
On a broker the topic of a run stays behind; --topic uses one that you have.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(long, value_enum, default_value_t = BenchMode::Async)]
    mode: BenchMode,
    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// The payload of each in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    /// How many keys the messages are spread over; 0 for none, then order is not checked
    #[arg(long, value_name = "N", default_value_t = 64)]
    keys: u32,
    /// How many topics the messages are spread over, each key in one of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    topics: u32,
    /// How many subscriptions each get all messages in mode consume
    #[arg(long, value_name = "N", default_value_t = 1)]
    subscriptions: u32,
    /// How many envelopes may be in flight, or unsettled deliveries in mode consume
    /// [default: that of the bus]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// How many tasks publish at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    publishers: u32,
    /// How many envelopes a batch has in mode batch
    #[arg(long, value_name = "N", default_value_t = 500)]
    batch_size: usize,
    /// Consume while publishing, to measure the end-to-end latency
    #[arg(long)]
    end_to_end: bool,
    /// Do not check the order
    #[arg(long)]
    no_verify: bool,
    /// The topic to use, or what several begin with [default: a new one]
    #[arg(long)]
    topic: Option<Topic>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchMode {
    /// Publish without waiting for each acknowledgement
    Async,
    /// Publish in batches
    Batch,
    /// Publish one by one, each acknowledged before the next
    Sync,
    /// Consume what was published before, acknowledging each
    Consume,
}

impl BenchArgs {
    fn load(&self) -> Load {
        let mode = match self.mode {
            BenchMode::Async => Mode::Async,
            BenchMode::Batch => Mode::Batch,
            BenchMode::Sync => Mode::Sync,
            BenchMode::Consume => Mode::Consume,
        };
        let mut load = Load::new(mode, self.messages, self.size)
            .keys(self.keys)
            .topics(self.topics)
            .subscriptions(self.subscriptions)
            .publishers(self.publishers)
            .batch_size(self.batch_size)
            .end_to_end(self.end_to_end)
            .verify(!self.no_verify);
        if let Some(window) = self.window {
            load = load.consumer_window(window);
        }
        match &self.topic {
            Some(topic) => load.topic(topic.clone()),
            None => load,
        }
    }
}

pub(crate) async fn run(global: &Global, args: &BenchArgs) -> Result<Exit, Failure> {
    let load = args.load();
    let mut target = Target::new(global.url())?;
    if load.mode == Mode::Consume {
        target = target.keeping(load.stored_bytes());
    }
    let first_failure = Arc::new(Mutex::new(None));
    let handler = first_failure.clone();
    let mut builder =
        eventbus::builder(&target.url).on_publish_failure(move |failure: PublishFailure| {
            let mut first = handler.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| failure.to_string());
        });
    if let Some(window) = args.window {
        builder = builder.max_in_flight(window);
    }
    let bar = progress::bar(load.messages, load.mode.as_str(), global.json);
    let advance = {
        let bar = bar.clone();
        move |count| bar.inc(count)
    };
    let report = eventbus_bench::run(&target.backend, &load, builder.connect(), advance).await;
    bar.finish_and_clear();
    let report = report?;

    let mut out = out();
    if global.json {
        let line = serde_json::to_string(&report)
            .map_err(|error| Failure::failed(format!("the report is no JSON: {error}")))?;
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{report}")?;
    }
    out.flush()?;
    if let Some(first) = &*first_failure.lock().unwrap_or_else(PoisonError::into_inner) {
        complain(&format!("the first failure: {first}"));
    }
    let missing = report.missing.unwrap_or(0);
    if missing > 0 {
        complain(&format!(
            "note: {} did not come when the topic was read back: removed by its retention, or \
             lost; --no-verify reads nothing back",
            count(missing, "acknowledged message"),
        ));
    }
    // In memory it is always the retention.
    let lost = if target.is_memory() { 0 } else { missing };
    Ok(match (report.failed + lost, report.order_violations) {
        (0, None | Some(0)) => Exit::Done,
        _ => Exit::Failed,
    })
}
