//! Takes the delivery reports and passes them on in bulk.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use eventbus_core::{
    Error, ErrorKind,
    backend::{EntryId, Stored, Verdicts},
};
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::ProducerContext,
    statistics::Statistics,
};

use crate::{
    client::{self, Trouble},
    error,
};

/// So many reports are passed on at once at most.
const MOST: usize = 256;
/// What share of the outstanding envelopes is passed on at once: few while few wait, so that
/// they wait for no others; many under load, where more reports follow soon.
const SHARE: usize = 16;

/// The context of the producer. Its reports come in groups, one group per answer of a broker,
/// but nothing marks the end of a group. What waits for its group waits for the next report,
/// or until the poll returns.
pub struct DeliveryContext {
    verdicts: Verdicts,
    outstanding: Arc<AtomicUsize>,
    trouble: Trouble,
    fatal: AtomicBool,
    /// The end has come: the engine itself reports what has no verdict.
    ended: AtomicBool,
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    reports: Vec<(EntryId, Result<Stored, Error>)>,
    /// At least so many more are to come. Publishers write the count of what is outstanding all
    /// the time, so it is looked at only when this is used up.
    expected: usize,
    /// All reports that ever came.
    total: u64,
}

impl DeliveryContext {
    pub(super) fn new(verdicts: Verdicts, outstanding: Arc<AtomicUsize>, trouble: Trouble) -> Self {
        Self {
            verdicts,
            outstanding,
            trouble,
            fatal: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            batch: Mutex::new(Batch::default()),
        }
    }

    fn batch(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what is left; how many reports ever came.
    pub(super) fn flush(&self) -> u64 {
        let mut batch = self.batch();
        self.pass_on(&mut batch);
        // What librdkafka did not take was counted, too.
        batch.expected = 0;
        batch.total
    }

    /// From now on what is purged gets no verdict.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn note_fatal(&self) {
        self.fatal.store(true, Ordering::Release);
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.fatal.load(Ordering::Acquire)
    }

    fn pass_on(&self, batch: &mut Batch) {
        if !batch.reports.is_empty() {
            self.outstanding.fetch_sub(batch.reports.len(), Ordering::AcqRel);
            self.verdicts.complete_all(batch.reports.drain(..));
        }
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(&self.trouble, level, facility, message);
    }

    fn error(&self, kafka: KafkaError, reason: &str) {
        if kafka.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.note_fatal();
        }
        client::note(&self.trouble, &kafka, reason);
    }

    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        if self.ended.load(Ordering::Acquire) && is_purged(result) {
            self.outstanding.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let id = EntryId::from_u64(opaque as u64);
        let verdict = match result {
            Ok(message) => match u64::try_from(message.offset()) {
                Ok(offset) => {
                    let partition = u32::try_from(message.partition()).unwrap_or_default();
                    Ok(Stored::at(partition, Some(offset)))
                }
                Err(_) => Err(not_acknowledged()),
            },
            Err((kafka, _)) => Err(error::from_delivery(kafka)),
        };
        let mut batch = self.batch();
        if verdict.is_ok() && batch.total.is_multiple_of(1024) {
            self.trouble.clear();
        }
        batch.reports.push((id, verdict));
        batch.total += 1;
        let len = batch.reports.len();
        batch.expected = batch.expected.saturating_sub(1);
        if batch.expected == 0 {
            batch.expected = self.outstanding.load(Ordering::Acquire).saturating_sub(len);
        }
        let outstanding = len + batch.expected;
        if len >= (outstanding / SHARE).min(MOST) || batch.expected == 0 {
            self.pass_on(&mut batch);
        }
    }
}

fn is_purged(result: &DeliveryResult<'_>) -> bool {
    let code = result.as_ref().err().and_then(|(kafka, _)| kafka.rdkafka_error_code());
    matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// librdkafka takes a message for stored when a later one was, though its own try failed. That
/// is right once the broker knows the producer, and wrong before: a new partition can refuse
/// the first message and take the second.
fn not_acknowledged() -> Error {
    error::error(
        ErrorKind::AckTimeout,
        "the broker acknowledged a later envelope and not this one, so whether it was stored is \
         unknown",
    )
}

impl fmt::Debug for DeliveryContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryContext")
            .field("outstanding", &self.outstanding)
            .field("fatal", &self.fatal)
            .finish_non_exhaustive()
    }
}
