//! Sending: the producer, the thread that serves it, and the way of verdicts.

mod context;
mod sender;
mod serve;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventbus_core::{
    BusConfig, Envelope, Error, ErrorKind, Topic,
    backend::{Outgoing, Verdicts},
};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{
    KafkaConfig,
    client::Trouble,
    error::{self, error},
    raw,
    worker::{Signal, Worker},
};
pub use context::DeliveryContext;
use sender::Sender;

/// The producer as librdkafka has it, with the context that takes its delivery reports.
pub type Producer = BaseProducer<DeliveryContext>;

const _: () = assert!(usize::BITS >= 64, "entries travel as pointers of 64 bits");

/// How long the threads may take beyond the deadline to give back what they have.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// What the publishers and the thread share.
struct Shared {
    config: ClientConfig,
    verdicts: Verdicts,
    /// `None` while a new one is made after a fatal error, and after the end.
    sender: RwLock<Option<Sender>>,
    /// Envelopes that librdkafka has and whose verdict was not reported.
    outstanding: Arc<AtomicUsize>,
    trouble: Trouble,
    /// Set when it is to end: by then at the latest.
    end: Mutex<Option<Instant>>,
}

impl Shared {
    fn sender(&self) -> RwLockReadGuard<'_, Option<Sender>> {
        self.sender.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self) -> Option<Arc<Producer>> {
        self.sender().as_ref().map(|sender| sender.producer.clone())
    }

    fn set_producer(&self, producer: Option<Arc<Producer>>) {
        let mut sender = self.sender.write().unwrap_or_else(PoisonError::into_inner);
        *sender = producer.map(Sender::new);
    }

    fn make_producer(&self) -> Result<Arc<Producer>, KafkaError> {
        let context = DeliveryContext::new(
            self.verdicts.clone(),
            self.outstanding.clone(),
            self.trouble.clone(),
        );
        self.config.create_with_context(context).map(Arc::new)
    }

    fn end(&self) -> Option<Instant> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending half of the transport.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Publisher {
    /// Starts the producer and its thread. Nothing is sent yet.
    pub(crate) fn start(
        config: &KafkaConfig,
        bus: &BusConfig,
        verdicts: Verdicts,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            config: config.producer(bus),
            verdicts,
            sender: RwLock::new(None),
            outstanding: Arc::default(),
            trouble: Trouble::default(),
            end: Mutex::new(None),
        });
        let producer = shared.make_producer().map_err(|kafka| error::from_kafka(&kafka))?;
        shared.set_producer(Some(producer));
        let served = shared.clone();
        let worker = Worker::spawn("eventbus-kafka-producer", Signal::default(), move || {
            serve::serve(&served);
        })
        .map_err(|io| error(ErrorKind::Unexpected, "no thread can be started").with_source(io))?;
        Ok(Self { shared, worker })
    }

    /// The producer, for what else its connection is good for.
    pub(crate) fn producer(&self) -> Option<Arc<Producer>> {
        self.shared.producer()
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.shared.trouble
    }

    pub(crate) fn send(&self, topic: &Topic, outgoing: Outgoing<'_>) {
        let Outgoing { entry, encoded, envelope, raw, .. } = outgoing;
        let sender = self.shared.sender();
        let Some(sender) = &*sender else {
            return entry.complete(Err(self.no_producer()));
        };
        let id = entry.id().to_u64() as usize;
        // Before sending: the report may come at once.
        let before = self.shared.outstanding.fetch_add(1, Ordering::AcqRel);
        let sent = match raw {
            true => send_raw(&sender.producer, topic, envelope, id),
            false => sender.send(topic, envelope.aggregate_id(), &encoded, id),
        };
        match sent {
            Ok(()) => {
                let _ = entry.into_id();
                if before == 0 {
                    self.worker.signal.notify();
                }
            }
            Err(kafka) => {
                self.shared.outstanding.fetch_sub(1, Ordering::AcqRel);
                if kafka.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                    sender.producer.context().note_fatal();
                    self.worker.signal.notify();
                }
                // librdkafka did not take it.
                entry.complete(Err(error::from_kafka(&kafka)));
            }
        }
    }

    fn no_producer(&self) -> Error {
        match self.shared.end() {
            Some(_) => error(ErrorKind::Closed, "the bus was closed before this was sent"),
            None => {
                let message = "a new producer is being made; publish again";
                error(ErrorKind::Unavailable, message)
            }
        }
    }

    /// Ends the thread and the producer: what has no verdict by `deadline` gets none.
    pub(crate) fn end(&self, deadline: Instant) {
        self.shared.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(deadline);
        self.worker.signal.notify();
    }

    /// Waits until all that was started is gone.
    pub(crate) async fn ended(&self, deadline: Instant) {
        if !self.worker.join(deadline + GRACE).await {
            tracing::warn!("librdkafka is still closing the producer; its threads end later");
        }
    }
}

/// Sends the payload alone, with fields as headers.
fn send_raw(
    producer: &Producer,
    topic: &Topic,
    envelope: &Envelope,
    id: usize,
) -> Result<(), KafkaError> {
    let mut record = BaseRecord::<str, [u8], usize>::with_opaque_to(topic.as_str(), id)
        .payload(envelope.payload())
        .headers(raw::headers(envelope, topic));
    if let Some(key) = envelope.aggregate_id() {
        record = record.key(key);
    }
    producer.send(record).map_err(|(kafka, _)| kafka)
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("outstanding", &self.shared.outstanding)
            .finish_non_exhaustive()
    }
}
