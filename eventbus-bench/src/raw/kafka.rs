//! `rdkafka`, used directly, with the settings that the bus has.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eventbus_core::{BusUrl, Error, ErrorKind, Topic};
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, FutureProducer, FutureRecord, ProducerContext, ThreadedProducer},
};

use super::meter::{Meter, left_over};
use crate::{
    Load, Mode,
    latency::Latencies,
    measure::{Job, Place, Sample},
    process::Usage,
    stamp::{encoded, topic_of},
};

/// Of the acknowledgements, at most about so many are timed per measurement.
const SAMPLES: u64 = 1000;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait while the client's queue is full.
const FULL: Duration = Duration::from_micros(100);

pub(crate) async fn measure(job: &Job, place: &Place) -> Result<Sample, Error> {
    let before = Usage::now().tasks;
    let sample = match job.load.mode {
        Mode::Sync => synchronously(job, place, before).await?,
        mode => {
            let (job, place) = (job.clone(), place.clone());
            blocking(move || match mode {
                Mode::Consume => {
                    publish(&job, &place, before)?;
                    consume(&job, &place, before)
                }
                _ => publish(&job, &place, before),
            })
            .await?
        }
    };
    Ok(Sample { leaked_tasks: Some(left_over(before).await), ..sample })
}

/// The version of librdkafka.
pub(crate) fn library_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// Removes the topic of a place.
pub(crate) async fn delete_topics(place: &Place) -> Result<(), Error> {
    let admin: AdminClient<DefaultClientContext> =
        finish(place, client(place))?.create().map_err(failed("delete the topics"))?;
    let topics: Vec<&str> = place.topics.iter().map(Topic::as_str).collect();
    let deleted = admin.delete_topics(&topics, &AdminOptions::new()).await;
    blocking(move || {
        // Dropping it waits for its threads.
        drop(admin);
        Ok(())
    })
    .await?;
    deleted.map(|_| ()).map_err(failed("delete the topics"))
}

/// The properties that the URL sets come last, as with the bus.
fn finish(place: &Place, mut client: ClientConfig) -> Result<ClientConfig, Error> {
    let mut url: BusUrl = place.url.parse()?;
    for (name, value) in url.parameters.take_prefixed("rdkafka.") {
        client.set(name, value);
    }
    Ok(client)
}

fn client(place: &Place) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &place.servers);
    client
}

fn producer(place: &Place, window: usize) -> Result<ClientConfig, Error> {
    let mut client = client(place);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("socket.nagle.disable", "true")
        .set("queue.buffering.max.messages", window.to_string());
    finish(place, client)
}

/// Counts and times what the client's own thread reports.
#[derive(Clone)]
struct Verdicts {
    origin: Instant,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

struct Seen {
    acked: u64,
    failed: u64,
    /// Somebody waits for so many verdicts.
    awaited: u64,
    latencies: Latencies,
}

impl Seen {
    fn nothing() -> Self {
        Self { acked: 0, failed: 0, awaited: u64::MAX, latencies: Latencies::new() }
    }
}

impl Verdicts {
    fn new() -> Self {
        let seen = Arc::new((Mutex::new(Seen::nothing()), Condvar::new()));
        Self { origin: Instant::now(), seen }
    }

    /// What goes along with a message that is timed; others have a zero.
    fn stamp(&self, timed: bool) -> usize {
        if timed { (self.origin.elapsed().as_nanos() as usize).max(1) } else { 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `sent` messages have their verdict.
    fn wait_for(&self, sent: u64) -> Result<(), Error> {
        let mut seen = self.lock();
        seen.awaited = sent;
        let pending = |seen: &mut Seen| seen.acked + seen.failed < sent;
        let waited = self.seen.1.wait_timeout_while(seen, PATIENCE, pending);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            return Err(Error::new(ErrorKind::Unexpected, "the raw client gave no verdict"));
        }
        Ok(())
    }
}

impl ClientContext for Verdicts {}

impl ProducerContext for Verdicts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, stamp: usize) {
        let mut seen = self.lock();
        match result {
            Ok(_) => {
                seen.acked += 1;
                if stamp > 0 {
                    let since = Duration::from_nanos(stamp as u64);
                    seen.latencies.record_now(self.origin.elapsed().saturating_sub(since));
                }
            }
            Err(_) => seen.failed += 1,
        }
        if seen.acked + seen.failed >= seen.awaited {
            self.seen.1.notify_all();
        }
    }
}

/// Pipelined through delivery callbacks, or batch by batch.
fn publish(job: &Job, place: &Place, before: usize) -> Result<Sample, Error> {
    let load = &job.load;
    let verdicts = Verdicts::new();
    let producer: ThreadedProducer<Verdicts> = producer(place, job.window)?
        .create_with_context(verdicts.clone())
        .map_err(failed("connect"))?;
    let keys: Vec<String> = (0..load.keys).map(|key| format!("key-{key}")).collect();
    let payload = encoded(load);
    let batch = if load.mode == Mode::Batch { load.batch_size as u64 } else { u64::MAX };
    let every = (load.messages / SAMPLES).max(1);
    let mut batches = Latencies::new();
    // The client gets its producer id and finds the leaders with the first messages.
    for topic in &place.topics {
        send(&producer, BaseRecord::with_opaque_to(topic.as_str(), 0).payload(&payload[..]))?;
    }
    verdicts.wait_for(place.topics.len() as u64)?;
    *verdicts.lock() = Seen::nothing();
    let meter = Meter::start(before)?;
    let mut begun = Instant::now();
    for n in 0..load.messages {
        let topic = topic_of(n, u64::from(load.keys), u64::from(load.topics));
        let mut record = BaseRecord::with_opaque_to(
            place.topics[topic].as_str(),
            verdicts.stamp(batch == u64::MAX && n.is_multiple_of(every)),
        )
        .payload(&payload[..]);
        if let Some(key) = keys.get((n % u64::from(load.keys.max(1))) as usize) {
            record = record.key(key.as_str());
        }
        send(&producer, record)?;
        if (n + 1).is_multiple_of(batch) || (batch != u64::MAX && n + 1 == load.messages) {
            verdicts.wait_for(n + 1)?;
            batches.record_now(begun.elapsed());
            begun = Instant::now();
        }
    }
    verdicts.wait_for(load.messages)?;
    let seen = verdicts.lock();
    let latencies = if batch == u64::MAX { &seen.latencies } else { &batches };
    Ok(meter.stop(seen.acked, seen.failed, latencies))
}

/// Waits while the queue is full.
fn send<'a>(
    producer: &ThreadedProducer<Verdicts>,
    mut record: BaseRecord<'a, str, [u8], usize>,
) -> Result<(), Error> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(FULL);
            }
            Err((error, _)) => return Err(failed("publish")(error)),
        }
    }
}

/// With the client's own futures, each awaited.
async fn synchronously(job: &Job, place: &Place, before: usize) -> Result<Sample, Error> {
    let load = &job.load;
    let producer: FutureProducer =
        producer(place, job.window)?.create().map_err(failed("connect"))?;
    let payload = encoded(load);
    let first = FutureRecord::to(place.topic.as_str()).payload(&payload[..]).key("key-0");
    let warm = producer.send(first, Duration::ZERO).await;
    warm.map_err(|(error, _)| failed("publish")(error))?;
    let meter = Meter::start(before)?;
    let (mut acked, mut latencies) = (0, Latencies::new());
    for n in 0..load.messages {
        let key = format!("key-{}", n % u64::from(load.keys.max(1)));
        let record = FutureRecord::to(place.topic.as_str()).payload(&payload[..]).key(&key);
        let started = Instant::now();
        if producer.send(record, Duration::ZERO).await.is_ok() {
            acked += 1;
            latencies.record_now(started.elapsed());
        }
    }
    let sample = meter.stop(acked, load.messages - acked, &latencies);
    blocking(move || {
        // Dropping it waits for its threads.
        drop(producer);
        Ok(sample)
    })
    .await
}

/// Stores the offset of each message; the client commits in the background.
fn consume(job: &Job, place: &Place, before: usize) -> Result<Sample, Error> {
    let Load { messages, .. } = job.load;
    let mut config = client(place);
    config
        .set("group.id", format!("raw-{}", place.name))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "16384")
        .set("partition.assignment.strategy", "cooperative-sticky");
    let consumer: BaseConsumer = finish(place, config)?.create().map_err(failed("connect"))?;
    let topics: Vec<&str> = place.topics.iter().map(Topic::as_str).collect();
    consumer.subscribe(&topics).map_err(failed("subscribe"))?;
    let deadline = Instant::now() + PATIENCE;
    let (mut acked, mut latencies, mut meter) = (0, Latencies::new(), None);
    while acked < messages {
        if Instant::now() > deadline {
            return Err(Error::new(ErrorKind::Unexpected, "not all messages came in time"));
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.map_err(failed("receive"))?;
        if meter.is_none() {
            // Joining the group is not part of it.
            meter = Some(Meter::start(before)?);
        }
        let started = Instant::now();
        consumer.store_offset_from_message(&message).map_err(failed("acknowledge"))?;
        acked += 1;
        if acked.is_multiple_of(16) {
            latencies.record(started.elapsed());
        }
    }
    let meter = meter.ok_or_else(|| Error::new(ErrorKind::Unexpected, "nothing was asked for"))?;
    Ok(meter.stop(acked, 0, &latencies))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the thread of the raw client died").with_source(error)
    })?
}

fn failed(what: &'static str) -> impl Fn(KafkaError) -> Error {
    move |source| {
        Error::new(ErrorKind::Unexpected, "the raw client failed")
            .with_operation(what)
            .with_source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Measured;

    #[test]
    fn what_the_url_sets_of_librdkafka_is_set_for_the_raw_client_too() {
        let load = Load::new(Mode::Async, 1, 256);
        let url = "kafka://a:1?max_in_flight=7&rdkafka.linger.ms=3";
        let job = Job::new(url, Measured::Bus, load).unwrap();
        let place = Place::of(&job).unwrap();
        let producer = producer(&place, job.window).unwrap();
        assert_eq!(producer.get("linger.ms"), Some("3"));
        assert_eq!(producer.get("bootstrap.servers"), Some("a:1"));
    }
}
