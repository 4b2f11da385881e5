//! The publishing side of a load.

use std::{sync::Arc, time::Instant};

use eventbus_core::{Envelope, Error, EventBus, EventBusExt, PendingReceipt, Topic};
use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::mpsc;

use crate::{Load, Mode, latency::Latencies, run::Progress, stamp::Messages};

/// Every so many calls of `publish` are timed: timing all would be seen in the rate.
const ACCEPT_EVERY: u64 = 16;
/// So many acknowledgements of each publisher are timed, since somebody who waits for a
/// receipt changes what transports do;
const ACK_SAMPLES: u64 = 1000;
/// and at most one in so many.
const ACK_EVERY: u64 = 64;
/// Receipts that may wait to be timed; beyond that they are not timed.
const MAX_WAITING: usize = 4096;

/// Who waits for each message, or batch, gives up when so many in a row have failed: each may have
/// waited for its `ack_timeout`, and the load would go on for hours.
const PATIENCE: u32 = 10;

/// A receipt, and when its envelope was published.
pub(crate) type Sample = (Instant, PendingReceipt);

/// One task that publishes.
pub(crate) struct Publisher {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) topics: Arc<[Topic]>,
    pub(crate) messages: Messages,
    pub(crate) progress: Progress,
    pub(crate) accept: Latencies,
    pub(crate) ack: Latencies,
}

impl Publisher {
    /// Publishes everything. Verdicts may be outstanding afterwards.
    ///
    /// # Errors
    /// The first refusal that the rest would meet as well.
    pub(crate) async fn run(
        mut self,
        load: &Load,
        samples: Option<mpsc::Sender<Sample>>,
    ) -> Result<Self, Error> {
        match (load.mode, samples) {
            (Mode::Async, Some(samples)) => self.asynchronously(&samples).await?,
            (Mode::Sync, _) => self.synchronously().await?,
            (Mode::Batch, _) => self.in_batches(load.batch_size).await?,
            _ => self.unwatched().await?,
        }
        Ok(self)
    }

    async fn asynchronously(&mut self, samples: &mpsc::Sender<Sample>) -> Result<(), Error> {
        let ack_every = (self.messages.total() / ACK_SAMPLES).max(ACK_EVERY);
        let mut published = 0_u64;
        for (topic, envelope) in self.messages.by_ref() {
            let topic = &self.topics[topic];
            published += 1;
            let timed = published.is_multiple_of(ACCEPT_EVERY).then(Instant::now);
            if published.is_multiple_of(ack_every) {
                let started = Instant::now();
                match self.bus.publish_with_receipt(topic, envelope).await {
                    Ok(receipt) => sample(&mut self.ack, samples, started, receipt).await,
                    Err(error) => give_up(error.into())?,
                }
            } else if let Err(error) = self.bus.publish(topic, envelope).await {
                give_up(error.into())?;
            }
            if let Some(started) = timed {
                self.accept.record(started.elapsed());
                (self.progress)(ACCEPT_EVERY);
            }
        }
        (self.progress)(published % ACCEPT_EVERY);
        Ok(())
    }

    async fn synchronously(&mut self) -> Result<(), Error> {
        let mut failing = 0;
        for (topic, envelope) in self.messages.by_ref() {
            let started = Instant::now();
            match self.bus.publish_with_receipt(&self.topics[topic], envelope).await {
                Ok(receipt) => match receipt.await {
                    Ok(_) => {
                        self.ack.record_now(started.elapsed());
                        failing = 0;
                    }
                    Err(error) => count(&mut failing, error.into())?,
                },
                Err(error) => give_up(error.into())?,
            }
            (self.progress)(1);
        }
        Ok(())
    }

    /// What is to be consumed later.
    async fn unwatched(&mut self) -> Result<(), Error> {
        for (topic, envelope) in self.messages.by_ref() {
            if let Err(error) = self.bus.publish(&self.topics[topic], envelope).await {
                give_up(error.into())?;
            }
        }
        Ok(())
    }

    async fn in_batches(&mut self, size: usize) -> Result<(), Error> {
        let mut failing = 0;
        loop {
            let batch = self.messages.by_ref().take(size);
            let batch: Vec<Envelope> = batch.map(|(_, envelope)| envelope).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let length = batch.len();
            let started = Instant::now();
            match self.bus.publish_batch(&self.topics[0], batch).await {
                Ok(_) => {
                    self.ack.record_now(started.elapsed());
                    failing = 0;
                }
                Err(error) if error.receipts().is_empty() => {
                    if let Some(first) = error.into_failures().into_iter().next() {
                        count(&mut failing, first.error.into())?;
                    }
                }
                Err(_) => failing = 0,
            }
            (self.progress)(length as u64);
        }
    }
}

/// Has a receipt timed.
async fn sample(
    ack: &mut Latencies,
    samples: &mpsc::Sender<Sample>,
    started: Instant,
    mut receipt: PendingReceipt,
) {
    match (&mut receipt).now_or_never() {
        Some(Ok(_)) => ack.record_now(started.elapsed()),
        Some(Err(_)) => {}
        None => {
            // Full, it is not timed, and dropped it stays in flight.
            let _ = samples.try_send((started, receipt));
            // Whoever times it must get to run before the verdict comes.
            tokio::task::yield_now().await;
        }
    }
}

/// Counts what failed in a row.
fn count(failing: &mut u32, error: Error) -> Result<(), Error> {
    *failing += 1;
    if *failing == PATIENCE {
        return Err(error.with_context("failed_in_a_row", PATIENCE));
    }
    give_up(error)
}

/// Whether the messages that follow would be refused as well.
fn give_up(error: Error) -> Result<(), Error> {
    if error.is_temporary() || error.is_ambiguous() {
        return Ok(());
    }
    Err(error)
}

/// A channel for receipts to be timed.
pub(crate) fn sample_channel() -> (mpsc::Sender<Sample>, mpsc::Receiver<Sample>) {
    mpsc::channel(MAX_WAITING)
}

/// Times receipts until there are no publishers any more.
pub(crate) async fn time_receipts(mut samples: mpsc::Receiver<Sample>) -> Latencies {
    let mut latencies = Latencies::new();
    let mut waiting = FuturesUnordered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            Some(latency) = waiting.next(), if !waiting.is_empty() => {
                if let Some(latency) = latency {
                    latencies.record_now(latency);
                }
            }
            sample = samples.recv(), if open => match sample {
                Some((started, receipt)) => waiting.push(async move {
                    receipt.await.ok().map(|_| started.elapsed())
                }),
                None => open = false,
            }
        }
    }
    latencies
}
