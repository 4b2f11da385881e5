//! The bus beside raw rdkafka with the same settings, in interleaved rounds:
//! `cargo run --release -p eventbus-kafka --example compare -- kafka://localhost:9092`.
//! Further arguments: messages (500000), rounds (5), window (4096), `publish`, `consume` or
//! `sync` to do one part only.

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use eventbus_core::{Envelope, EventBus, EventBusExt, Registry, Start, SubscribeOptions, Topic};
use eventbus_kafka::rdkafka::{
    ClientConfig, ClientContext, Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};

const SIZE: usize = 256;
const KEYS: usize = 1000;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Setup {
    url: String,
    messages: usize,
    rounds: usize,
    window: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let setup = Setup {
        url: arguments.first().cloned().unwrap_or_else(|| "kafka://localhost:9092".to_owned()),
        messages: number(1, 500_000)?,
        rounds: number(2, 5)?,
        window: number(3, 4096)?,
    };
    let only = arguments.get(4).map(String::as_str);
    if only.is_none_or(|only| only == "publish") {
        publish(&setup).await?;
    }
    if only.is_none_or(|only| only == "sync") {
        sync(&setup).await?;
    }
    if only.is_none_or(|only| only == "consume") {
        consume(&setup).await?;
    }
    Ok(())
}

impl Setup {
    fn topic(&self, name: &str) -> Outcome<Topic> {
        Ok(format!("compare.p{}.{name}", std::process::id()).parse()?)
    }

    async fn bus(&self) -> Outcome<Arc<dyn EventBus>> {
        let mut registry = Registry::new();
        eventbus_kafka::register(&mut registry);
        let url = format!("{}?partitions=1", self.url);
        Ok(registry.builder(&url).max_in_flight(self.window).connect().await?)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.url.trim_start_matches("kafka://"));
        client
    }

    fn producer(&self, window: usize) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", window.to_string());
        client
    }
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|key| format!("key-{key}")).collect()
}

fn envelope(keys: &[String], payload: &bytes::Bytes, n: usize) -> Envelope {
    Envelope::new("compare", payload.clone()).key(&keys[n % KEYS])
}

/// Messages in a second, and microseconds of this process's processor time for each: the
/// latter says something even on a busy machine.
#[derive(Clone, Copy)]
struct Figure {
    rate: f64,
    cost: f64,
}

struct Clock {
    start: Instant,
    ticks: u64,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now(), ticks: ticks() }
    }

    fn figure(&self, messages: usize) -> Figure {
        let messages = messages as f64;
        Figure {
            rate: messages / self.start.elapsed().as_secs_f64(),
            cost: (ticks() - self.ticks) as f64 * 10_000.0 / messages,
        }
    }
}

/// User and system time in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Prints the figures of both and their ratio, round by round and as medians.
fn print(what: &str, raw: &[Figure], bus: &[Figure]) {
    let pairs = || raw.iter().zip(bus);
    for (round, (raw, bus)) in pairs().enumerate() {
        println!(
            "{what} {round}: raw {:>9.0}/s {:.2} µs  bus {:>9.0}/s {:.2} µs  {:.2}",
            raw.rate,
            raw.cost,
            bus.rate,
            bus.cost,
            bus.rate / raw.rate
        );
    }
    println!(
        "{what} median: raw {:.0}/s {:.2} µs  bus {:.0}/s {:.2} µs  of pairs: rate {:.2}, cost {:.2}\n",
        median(raw.iter().map(|f| f.rate)),
        median(raw.iter().map(|f| f.cost)),
        median(bus.iter().map(|f| f.rate)),
        median(bus.iter().map(|f| f.cost)),
        median(pairs().map(|(raw, bus)| bus.rate / raw.rate)),
        median(pairs().map(|(raw, bus)| bus.cost / raw.cost)),
    );
}

#[derive(Default)]
struct Counting(AtomicUsize);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, _: usize) {
        assert!(result.is_ok(), "a message was not delivered");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn publish(setup: &Setup) -> Outcome<()> {
    let topic = setup.topic("publish")?;
    let bus = setup.bus().await?;
    bus.ensure_topic(&topic).await?;
    let (mut raw, mut own) = (Vec::new(), Vec::new());
    for round in 0..=setup.rounds {
        let (r, b) = (raw_publish(setup, &topic)?, bus_publish(setup, &*bus, &topic).await?);
        // The first round is for warming up.
        if round > 0 {
            raw.push(r);
            own.push(b);
        }
    }
    bus.close().await?;
    print("publish", &raw, &own);
    Ok(())
}

fn raw_publish(setup: &Setup, topic: &Topic) -> Outcome<Figure> {
    let producer: ThreadedProducer<Counting> =
        setup.producer(setup.window).create_with_context(Counting::default())?;
    let keys = keys();
    let value = envelope(&keys, &vec![b'x'; SIZE].into(), 0).to_bytes();
    let start = Clock::start();
    for n in 0..setup.messages {
        let mut record = BaseRecord::with_opaque_to(topic.as_str(), n)
            .key(keys[n % KEYS].as_str())
            .payload(&value[..]);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    thread::sleep(Duration::from_micros(100));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
    producer.flush(Duration::from_secs(60))?;
    while producer.context().0.load(Ordering::Relaxed) < setup.messages {
        thread::sleep(Duration::from_micros(100));
    }
    Ok(start.figure(setup.messages))
}

async fn bus_publish(setup: &Setup, bus: &dyn EventBus, topic: &Topic) -> Outcome<Figure> {
    let (keys, payload) = (keys(), vec![b'x'; SIZE].into());
    let before = bus.stats();
    let start = Clock::start();
    for n in 0..setup.messages {
        bus.publish(topic, envelope(&keys, &payload, n)).await?;
    }
    bus.flush().await?;
    let rate = start.figure(setup.messages);
    assert_eq!(bus.stats().acknowledged - before.acknowledged, setup.messages as u64);
    Ok(rate)
}

async fn sync(setup: &Setup) -> Outcome<()> {
    let messages = (setup.messages / 200).clamp(100, 5000);
    let topic = setup.topic("sync")?;
    let bus = setup.bus().await?;
    bus.ensure_topic(&topic).await?;
    let futures: eventbus_kafka::rdkafka::producer::FutureProducer =
        setup.producer(100_000).create()?;
    let (keys, payload) = (keys(), bytes::Bytes::from(vec![b'x'; SIZE]));
    let value = envelope(&keys, &payload, 0).to_bytes();
    let (mut raw, mut own) = (Vec::new(), Vec::new());
    for round in 0..=setup.rounds {
        let start = Clock::start();
        for n in 0..messages {
            let record = eventbus_kafka::rdkafka::producer::FutureRecord::to(topic.as_str())
                .key(&keys[n % KEYS])
                .payload(&value[..]);
            futures.send(record, Duration::ZERO).await.map_err(|(error, _)| error)?;
        }
        let r = start.figure(messages);
        let start = Clock::start();
        for n in 0..messages {
            bus.publish_sync(&topic, envelope(&keys, &payload, n)).await?;
        }
        if round > 0 {
            raw.push(r);
            own.push(start.figure(messages));
        }
    }
    bus.close().await?;
    print("publish_sync", &raw, &own);
    Ok(())
}

async fn consume(setup: &Setup) -> Outcome<()> {
    let topic = setup.topic("consume")?;
    let bus = setup.bus().await?;
    bus_publish(setup, &*bus, &topic).await?;
    let (mut raw, mut own) = (Vec::new(), Vec::new());
    for round in 0..=setup.rounds {
        let r = raw_consume(setup, &topic, round)?;
        let b = bus_consume(setup, &*bus, &topic, round).await?;
        if round > 0 {
            raw.push(r);
            own.push(b);
        }
    }
    bus.close().await?;
    print("consume", &raw, &own);
    Ok(())
}

fn raw_consume(setup: &Setup, topic: &Topic, round: usize) -> Outcome<Figure> {
    let mut config = setup.client();
    config
        .set("group.id", format!("raw-{topic}-{round}"))
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "16384")
        .set("partition.assignment.strategy", "cooperative-sticky");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic.as_str()])?;
    let (mut bytes, mut count, mut start) = (0, 0, Clock::start());
    while count < setup.messages {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            if count == 0 {
                start = Clock::start();
            }
            bytes += message.payload().map_or(0, <[u8]>::len);
            count += 1;
        }
    }
    assert!(bytes > count * SIZE);
    Ok(start.figure(count))
}

async fn bus_consume(
    setup: &Setup,
    bus: &dyn EventBus,
    topic: &Topic,
    round: usize,
) -> Outcome<Figure> {
    let options = SubscribeOptions::group(format!("bus-{round}"))
        .start(Start::Earliest)
        .max_in_flight(setup.window);
    let mut subscription = bus.subscribe(&topic.filter(), options).await?;
    let (mut bytes, mut count, mut start) = (0, 0, Clock::start());
    while let Some(delivery) = subscription.try_next().await? {
        if count == 0 {
            start = Clock::start();
        }
        bytes += delivery.envelope().payload().len();
        delivery.ack().await?;
        count += 1;
        if count == setup.messages {
            break;
        }
    }
    assert_eq!(bytes, count * SIZE);
    Ok(start.figure(count))
}
