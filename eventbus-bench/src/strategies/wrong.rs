//! The ways on the raw client.

use std::time::Instant;

use eventbus_core::{Error, ErrorKind};
use tokio::sync::mpsc;

use crate::{
    Load,
    latency::Latencies,
    measure::{Job, Place, Sample, Strategy},
    process::Usage,
    raw::{
        Meter,
        nats::{Raw, end, in_batches, pipelined, synchronously},
    },
};

pub(super) async fn measure(strategy: Strategy, job: &Job, place: &Place) -> Result<Sample, Error> {
    let before = Usage::now().tasks;
    let raw = Raw::connect(job, place).await?;
    let load = &job.load;
    let sample = match strategy {
        Strategy::TaskPerMessage => task_per_message(&raw, load, before).await,
        Strategy::Synchronous => synchronously(&raw, load, before).await,
        Strategy::EveryHundred => in_batches(&raw, &load.clone().batch_size(100), before).await,
        Strategy::SharedTask => pipelined(&raw, load, job.window, before).await,
        Strategy::Engine => Err(Error::new(
            ErrorKind::InvalidConfig,
            "the engine is measured through the bus; ask for `Measured::Bus`",
        )),
    };
    end(raw, sample, before).await
}

/// Everything at once, and a task that waits for each.
async fn task_per_message(raw: &Raw, load: &Load, before: usize) -> Result<Sample, Error> {
    let (done, mut verdicts) = mpsc::unbounded_channel();
    let meter = Meter::start(before)?;
    for n in 0..load.messages {
        let started = Instant::now();
        let ack = raw.publish(n).await?;
        let done = done.clone();
        tokio::spawn(async move {
            let acked = ack.await.is_ok();
            let _ = done.send(acked.then(|| started.elapsed()));
        });
    }
    drop(done);
    let (mut acked, mut latencies) = (0, Latencies::new());
    while let Some(verdict) = verdicts.recv().await {
        if let Some(latency) = verdict {
            acked += 1;
            latencies.record_now(latency);
        }
    }
    Ok(meter.stop(acked, load.messages - acked, &latencies))
}
