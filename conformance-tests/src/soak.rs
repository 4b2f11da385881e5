//! Soak: mixed load with churn of buses and subscriptions, for long, with an eye on what the
//! process uses.

mod churn;
mod load;
mod plot;
mod sample;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use eventbus_conformance::{Context, Failure, Harness, Result};

use self::{load::Load, sample::Samples};
use crate::{kafka::KafkaHarness, memory::Memory, nats::NatsHarness};

/// What is kept of a topic, so that what grows is not retention.
const RETENTION: usize = 16 << 20;
/// The least time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// What a soak is to do.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How long.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// The backend: memory, nats or kafka.
    #[arg(long, default_value = "memory")]
    backend: String,
    /// Where the plot goes; by default to `docs/plots/soak-BACKEND.svg`.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Runs until the time is over or Ctrl-C; true when nothing grew.
///
/// # Errors
/// When the broker does not start, or something of the load fails.
pub async fn run(options: Options) -> Result<bool> {
    let context = Context::new(harness(&options.backend)?);
    let load = Load::start(&context).await?;
    let started = Instant::now();
    let end = started + Duration::from_secs(options.minutes * 60);
    let mut samples = Samples::default();
    println!("soak of {} for {} minutes", options.backend, options.minutes);
    while Instant::now() < end {
        let next = tokio::time::Instant::now() + PERIOD;
        let round = samples.count();
        tokio::select! {
            churned = churn::one(&context, round) => churned?,
            _ = tokio::signal::ctrl_c() => break,
        }
        samples.take(started.elapsed(), load.operations());
        if round.is_multiple_of(60) {
            eprintln!("{}", samples.last());
        }
        tokio::time::sleep_until(next).await;
    }
    load.finish().await?;
    let plot = options.plot.unwrap_or_else(|| {
        let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
        docs.join(format!("plots/soak-{}.svg", options.backend))
    });
    std::fs::write(&plot, plot::svg(&options.backend, &samples))?;
    let grown = samples.grown();
    println!("{}", samples.summary());
    for what in &grown {
        println!("GREW: {what}");
    }
    Ok(grown.is_empty())
}

fn harness(backend: &str) -> Result<Arc<dyn Harness>> {
    match backend {
        "memory" => Ok(Arc::new(Memory::with_retention(RETENTION))),
        "nats" => Ok(Arc::new(NatsHarness::new("nats", "max_bytes=67108864"))),
        "kafka" => Ok(Arc::new(KafkaHarness::with_retention(RETENTION))),
        other => Err(Failure::new(format!("no soak of {other:?}: it is memory, nats or kafka"))),
    }
}
