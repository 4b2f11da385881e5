//! Opening sources, and what they are towards the engine.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use eventbus_core::{
    Error, ErrorKind, Ordering, RawTopics, SubscribeOptions, SubscriptionHealth, TopicFilter,
    backend::{Incoming, Settler, Source, SourceError},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    KafkaConfig,
    consumer::{Desk, Opening, Phase, Shared, read},
    error::error,
    settle::KafkaSettler,
    worker::{Signal, Worker},
};

/// The messages of one subscription. Dropping it ends the subscription once what was handed
/// out is settled.
pub struct KafkaSource(Arc<Shared>);

/// A subscription's thread, as the transport keeps it.
#[derive(Clone)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    worker: Arc<Worker>,
}

impl Running {
    pub(crate) fn has_ended(&self) -> bool {
        self.worker.has_ended()
    }

    /// Ends it without waiting for settlements.
    pub(crate) fn end(&self) {
        self.shared.end(Phase::Closed);
    }

    pub(crate) async fn ended(&self, deadline: Instant) -> bool {
        self.worker.join(deadline).await
    }
}

/// The `group.id` of a group: readable, and another one for another filter.
pub(crate) fn group_id(filter: &TopicFilter, options: &SubscribeOptions) -> Option<String> {
    let group = options.group.as_ref()?;
    Some(if options.native_group { group.clone() } else { format!("{group}.{filter}") })
}

/// Told when a source is open, or why it cannot be opened.
pub(crate) type Opened = oneshot::Receiver<Result<(), Error>>;

/// Starts a source and its thread.
pub(crate) fn start(
    config: &KafkaConfig,
    filter: &TopicFilter,
    options: &SubscribeOptions,
    raw: &RawTopics,
) -> Result<(KafkaSource, Running, Opened), Error> {
    let group = group_id(filter, options);
    let in_group = group.is_some();
    let group = group.unwrap_or_else(|| format!("eventbus-reader-{}", Uuid::now_v7()));
    let mut desk = Desk::new(options);
    desk.partitions.commits = in_group;
    let signal = Signal::default();
    let shared = Shared::new(desk, signal.clone());
    let (opened, opening) = oneshot::channel();
    let instructions = Opening {
        config: config.consumer(&group),
        filter: filter.clone(),
        start: options.effective_start(),
        in_group,
        per_key: options.ordering == Ordering::PerKey,
        raw: raw.clone(),
        ack_wait: options.ack_wait,
        commit_interval: config.commit_interval,
        // The first group of a cluster has to wait for its coordinator.
        timeout: config.connect_timeout * 4,
        opened: Some(opened),
    };
    let own = shared.clone();
    let worker = Worker::spawn("eventbus-kafka-consumer", signal, move || read(instructions, &own))
        .map_err(|io| error(ErrorKind::Unexpected, "no thread can be started").with_source(io))?;
    let running = Running { shared: shared.clone(), worker: Arc::new(worker) };
    Ok((KafkaSource(shared), running, opening))
}

impl Source for KafkaSource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        let mut desk = self.0.desk();
        if desk.phase != Phase::Open {
            // Only a terminal error may still be there.
            return Poll::Ready(desk.failures.pop_front().map(Err));
        }
        match desk.next(Instant::now()) {
            Some(item) => Poll::Ready(Some(item)),
            None => {
                desk.wait(cx.waker());
                Poll::Pending
            }
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(KafkaSettler(self.0.clone()))
    }

    fn stop(&mut self) {
        self.0.end(Phase::Stopped);
    }

    fn health(&self, health: &mut SubscriptionHealth) {
        let desk = self.0.desk();
        health.in_flight = desk.in_flight();
        health.stalled = desk.stalled();
        let left_out = desk.partitions.left_out;
        health.problem = if left_out > 0 {
            Some(format!(
                "{left_out} messages settled out of order do not fit into the commit; they would \
                 be delivered again after a restart",
            ))
        } else {
            self.0.trouble.describe()
        };
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.0.end(Phase::Stopped);
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").finish_non_exhaustive()
    }
}
