//! Writers: they publish until told to stop, and write down each verdict.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use eventbus_core::{EventBus, EventBusExt, PendingReceipt, PublishOptions, Topic};
use tokio::sync::watch;

use super::{Mode, Outcome, Recorder, Value, Workload, recorder::Begun};

/// Receipts that a writer leaves pending, and the size of its batches.
const AHEAD: usize = 16;
/// Values between two rests.
const BURST: u64 = 4;
/// How long a writer waits after a failure: the broker is likely to be away.
const AFTER_FAILURE: Duration = Duration::from_millis(5);

pub(super) struct Writer {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) topic: Topic,
    pub(super) recorder: Recorder,
    pub(super) number: u32,
    pub(super) next: u64,
    pub(super) workload: Workload,
    pub(super) pending: VecDeque<(Begun, PendingReceipt)>,
}

impl Writer {
    pub(super) async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let well = match self.workload.mode {
                Mode::Detached => self.detached().await,
                Mode::Receipt => self.ahead(AHEAD).await,
                Mode::Sync => self.ahead(0).await,
                Mode::Batch => self.batch(PublishOptions::new()).await,
                Mode::Atomic => self.batch(PublishOptions::new().atomic()).await,
            };
            if !well {
                tokio::time::sleep(AFTER_FAILURE).await;
            } else if self.next.is_multiple_of(BURST) {
                tokio::time::sleep(self.workload.rest).await;
            }
        }
        self.settle(0).await;
    }

    fn value(&mut self) -> Value {
        let counter = self.next;
        self.next += 1;
        let key = u32::try_from(counter % u64::from(self.workload.keys)).unwrap_or_default();
        Value::new(key, self.number, counter)
    }

    async fn detached(&mut self) -> bool {
        let value = self.value();
        let begun = self.recorder.begin(value);
        let envelope = value.to_envelope(self.workload.payload);
        match self.bus.publish(&self.topic, envelope).await {
            // The rest is up to the failure handler.
            Ok(()) => true,
            Err(error) => {
                self.recorder.failed(begun, error.error());
                false
            }
        }
    }

    /// Publishes one and leaves at most so many receipts pending.
    async fn ahead(&mut self, most: usize) -> bool {
        let value = self.value();
        let begun = self.recorder.begin(value);
        let envelope = value.to_envelope(self.workload.payload);
        match self.bus.publish_with_receipt(&self.topic, envelope).await {
            Ok(receipt) => self.pending.push_back((begun, receipt)),
            Err(error) => {
                self.recorder.failed(begun, error.error());
                return false;
            }
        }
        self.settle(most).await
    }

    async fn settle(&mut self, most: usize) -> bool {
        let mut well = true;
        while self.pending.len() > most {
            let Some((begun, receipt)) = self.pending.pop_front() else { break };
            match receipt.await {
                Ok(_) => self.recorder.end(begun, Outcome::Acknowledged),
                Err(error) => {
                    well = false;
                    self.recorder.failed(begun, error.error());
                }
            }
        }
        well
    }

    async fn batch(&mut self, options: PublishOptions) -> bool {
        let values: Vec<Value> = (0..AHEAD).map(|_| self.value()).collect();
        let batch = options.atomic.then(|| values[0]);
        let begin = |value: &Value| self.recorder.begin_in(batch, *value);
        let begun: Vec<Begun> = values.iter().map(begin).collect();
        let size = self.workload.payload;
        let envelopes = values.iter().map(|value| value.to_envelope(size)).collect();
        let outcome = self.bus.publish_batch_opts(&self.topic, envelopes, options).await;
        let failures = outcome.map_or_else(|error| error.into_failures(), |_| Vec::new());
        for begun in &begun {
            self.recorder.end(*begun, Outcome::Acknowledged);
        }
        for failure in &failures {
            self.recorder.failed(begun[failure.index], failure.error.error());
        }
        failures.is_empty()
    }
}
