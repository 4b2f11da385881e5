//! The harness of `kafka://`: one broker for the scenarios that do no harm to others, one of
//! its own for each that restarts, freezes or floods it.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use eventbus_conformance::{Feature, Harness, HeldAcks, Need, Request, Scenario};
use eventbus_core::{Error, ErrorKind, EventBus, Registry, Topic};
use eventbus_kafka::rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};
use test_brokers::{Found, Kafka, discover};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// As many as the suite wants at least.
const PARTITIONS: i32 = 4;
/// Retention that can be watched at work.
const EAGER_RETENTION: &str = "log.retention.check.interval.ms=50\nlog.initial.task.delay.ms=50\nlog.segment.delete.delay.ms=50";
/// A broker that was frozen for longer than its session is shut out by its controller, which it is
/// itself: for up to a minute it then coordinates no group, and no client can do anything about it.
const LONG_SESSION: &str = "broker.session.timeout.ms=60000";
const LIMIT: Duration = Duration::from_secs(30);

type Started = Result<Found<Kafka>, String>;

/// Lives as long as the process; it is started on a thread because tests come and go with
/// their runtimes.
static SHARED: LazyLock<Started> = LazyLock::new(|| {
    let start = || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.enable_all().worker_threads(1).build();
        runtime
            .map_err(|error| error.to_string())?
            .block_on(discover::kafka())
            .map_err(|error| error.to_string())
    };
    thread::spawn(start).join().unwrap_or_else(|_| Err("the broker could not be started".into()))
});

/// How many brokers of their own scenarios may have at once: a JVM that starts takes a processor
/// for seconds, and whoever waits for it has a deadline.
static OWN: Semaphore = Semaphore::const_new(2);

enum Place {
    Shared,
    Own(Own),
}

/// Started when it is wanted first.
struct Own {
    config: String,
    broker: OnceCell<(Arc<Kafka>, SemaphorePermit<'static>)>,
}

impl Own {
    fn new(config: &str) -> Self {
        Self { config: config.to_owned(), broker: OnceCell::new() }
    }
}

/// A broker for one scenario or for many.
pub(crate) struct KafkaHarness(Place);

impl KafkaHarness {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        use Feature::{HoldAcks, Pause, Restart, Retention};
        let needs = |wanted: &[Feature]| {
            let wanted = |need: &Need| matches!(need, Need::Feature(f) if wanted.contains(f));
            scenario.needs().iter().any(wanted)
        };
        // After a kill the session must be short: the controller waits for its end.
        Self(if needs(&[Restart]) {
            Place::Own(Own::new(EAGER_RETENTION))
        } else if needs(&[HoldAcks, Pause, Retention]) {
            Place::Own(Own::new(&format!("{EAGER_RETENTION}\n{LONG_SESSION}")))
        } else {
            Place::Shared
        })
    }

    /// A broker of its own whose topics keep so many bytes in each partition, or little more.
    pub(crate) fn with_retention(bytes: usize) -> Self {
        let segment = bytes / 4;
        let retention = format!("log.retention.bytes={bytes}\nlog.segment.bytes={segment}");
        Self(Place::Own(Own::new(&format!("{EAGER_RETENTION}\n{retention}"))))
    }

    async fn own(&self) -> Result<&Kafka, Error> {
        let Place::Own(own) = &self.0 else {
            return Err(failed("this scenario shares its broker"));
        };
        let start = || async {
            let permit = OWN.acquire().await.map_err(failed)?;
            let broker = Kafka::builder().config(&own.config).start().await.map_err(failed)?;
            Ok((Arc::new(broker), permit))
        };
        own.broker.get_or_try_init(start).await.map(|(broker, _)| broker.as_ref())
    }

    async fn url(&self) -> Result<&str, Error> {
        match &self.0 {
            Place::Own(_) => Ok(self.own().await?.url()),
            Place::Shared => {
                // It may have to be started first, which blocks.
                let _ = tokio::task::spawn_blocking(|| LazyLock::force(&SHARED)).await;
                SHARED.as_ref().map(Found::<Kafka>::url).map_err(failed)
            }
        }
    }

    async fn client(&self) -> Result<ClientConfig, Error> {
        let servers = self.url().await?.trim_start_matches("kafka://");
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", servers);
        Ok(client)
    }

    async fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Error> {
        self.client().await?.create().map_err(failed)
    }
}

fn failed(reason: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, reason.to_string())
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    eventbus_kafka::register(&mut registry);
    registry
}

#[async_trait]
impl Harness for KafkaHarness {
    fn name(&self) -> &str {
        "kafka"
    }

    fn features(&self) -> &[Feature] {
        &[
            Feature::HoldAcks,
            Feature::SingleTopics,
            Feature::FailedConnect,
            Feature::Plant,
            Feature::Retention,
            Feature::Partitions,
            Feature::Restart,
            Feature::Pause,
        ]
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        // A request must fit into the small segments of topics with small retention.
        let small = matches!(self.0, Place::Own(_)).then_some("&rdkafka.batch.size=16000");
        let url = self.url().await?;
        let url = format!("{url}?partitions={PARTITIONS}{}", small.unwrap_or_default());
        let mut builder = registry().builder(&url).config(request.config);
        if let Some(handler) = request.on_failure {
            builder = builder.on_publish_failure(move |failure| handler(failure));
        }
        builder.connect().await
    }

    async fn connect_in_vain(&self) -> Result<Arc<dyn EventBus>, Error> {
        registry().builder("kafka://127.0.0.1:1?connect_timeout=300ms").connect().await
    }

    fn hold_acks(&self, _: &dyn EventBus) -> Result<HeldAcks, Error> {
        let Place::Own(own) = &self.0 else {
            return Err(failed("this scenario shares its broker"));
        };
        let Some(broker) = own.broker.get().map(|(broker, _)| broker.clone()) else {
            return Err(failed("the broker was not started"));
        };
        broker.pause().map_err(failed)?;
        Ok(HeldAcks::new(move || {
            // A scenario that goes on with a frozen broker fails by itself.
            let _ = broker.resume();
        }))
    }

    async fn plant(&self, topic: &Topic, bytes: Bytes) -> Result<(), Error> {
        let producer: BaseProducer = self.client().await?.create().map_err(failed)?;
        let topic = topic.clone();
        let plant = move || {
            let record = BaseRecord::<(), [u8]>::to(topic.as_str()).payload(&bytes);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.flush(LIMIT)
        };
        let planted: Result<(), KafkaError> =
            tokio::task::spawn_blocking(plant).await.map_err(failed)?;
        planted.map_err(failed)
    }

    async fn limit_retention(&self, topic: &Topic, bytes: usize) -> Result<(), Error> {
        let (bytes, segment) = (bytes.to_string(), (bytes / 2).to_string());
        let limited = NewTopic::new(topic.as_str(), PARTITIONS, TopicReplication::Fixed(1))
            .set("retention.bytes", &bytes)
            .set("internal.segment.bytes", &segment);
        let made = self.admin().await?.create_topics([&limited], &options()).await;
        made.map_err(failed)?
            .into_iter()
            .try_for_each(|made| made.map(drop).map_err(|e| failed(e.1)))
    }

    async fn add_partitions(&self, topic: &Topic, total: u32) -> Result<(), Error> {
        let more = NewPartitions::new(topic.as_str(), total as usize);
        let added = self.admin().await?.create_partitions([&more], &options()).await;
        added
            .map_err(failed)?
            .into_iter()
            .try_for_each(|made| made.map(drop).map_err(|e| failed(e.1)))
    }

    async fn restart_broker(&self) -> Result<(), Error> {
        let broker = self.own().await?;
        broker.kill();
        broker.restart().await.map_err(failed)
    }

    async fn pause_broker(&self) -> Result<(), Error> {
        self.own().await?.pause().map_err(failed)
    }

    async fn resume_broker(&self) -> Result<(), Error> {
        self.own().await?.resume().map_err(failed)
    }
}
