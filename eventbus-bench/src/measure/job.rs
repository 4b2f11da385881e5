//! What to measure.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use eventbus_core::{BusConfig, BusUrl, Error};
use serde::{Deserialize, Serialize};

use crate::Load;

/// Which of the ways to send the same messages is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Measured {
    /// This event bus, through `Arc<dyn EventBus>`.
    Bus,
    /// The client library that the backend stands on, used directly and well.
    Client,
    /// A tool that the broker's makers measure with.
    Tool(Tool),
    /// A way to wait for acknowledgements, on the raw NATS client.
    Strategy(Strategy),
}

/// A broker's own tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Tool {
    /// `nats bench js`, found through `EVENTBUS_PEER_NATS_CLI`.
    NatsBench,
    /// `nats bench js pub fast`, the same program.
    NatsBenchFast,
    /// `kafka-producer-perf-test` and `kafka-consumer-perf-test`, found through
    /// `EVENTBUS_PEER_KAFKA_CP`.
    KafkaPerf,
}

/// How the acknowledgements of asynchronous publishes are waited for. Only the last is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Strategy {
    /// A task per message.
    TaskPerMessage,
    /// Each publish waits.
    Synchronous,
    /// All are waited for after every hundredth message.
    EveryHundred,
    /// One task gets them all through a channel.
    SharedTask,
    /// The engine of this bus.
    Engine,
}

impl Strategy {
    /// The strategies, from the worst to the one that is used.
    pub const ALL: [Self; 5] = [
        Self::TaskPerMessage,
        Self::Synchronous,
        Self::EveryHundred,
        Self::SharedTask,
        Self::Engine,
    ];
}

/// One thing to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// The backend, by its URL scheme.
    pub backend: String,
    /// Where it is. It may hold credentials.
    pub url: String,
    /// What to call the bus, if the backend does not tell it from others.
    pub name: Option<String>,
    /// The way to send the messages.
    pub measured: Measured,
    /// The messages.
    pub load: Load,
    /// How many may be in flight, or unsettled.
    pub window: usize,
    /// How many messages a tool sends or asks for at a time.
    pub tool_batch: usize,
    /// On NATS: whether the stream may hold other topics than those of the load.
    #[serde(default)]
    pub stream_holds_more: bool,
    /// What to call what is made at the broker; a name that no other measurement has, if `None`.
    #[serde(default)]
    pub place: Option<String>,
}

impl Job {
    /// `load` on the bus at `url`, with the default window.
    ///
    /// # Errors
    /// `InvalidConfig` when the URL is none.
    pub fn new(url: &str, measured: Measured, load: Load) -> Result<Self, Error> {
        let parsed: BusUrl = url.parse()?;
        Ok(Self {
            backend: parsed.scheme().to_owned(),
            url: url.to_owned(),
            name: None,
            measured,
            load,
            window: BusConfig::default().max_in_flight,
            tool_batch: 1000,
            stream_holds_more: false,
            place: None,
        })
    }

    /// The same with a name for what is made at the broker that no other measurement has, so that
    /// [`tidy_up`](crate::tidy_up) finds it, whatever becomes of the measurement.
    #[must_use]
    pub fn in_a_place_of_its_own(mut self) -> Self {
        self.place = Some(unique());
        self
    }

    /// Who is measured, as shown in tables.
    #[must_use]
    pub fn party(&self) -> String {
        match self.measured {
            Measured::Bus => {
                format!("eventbus {}", self.name.as_deref().unwrap_or(&self.backend))
            }
            Measured::Client => match self.backend.as_str() {
                "nats" => "async-nats".to_owned(),
                "kafka" => "rdkafka".to_owned(),
                other => format!("{other} client"),
            },
            Measured::Tool(tool) => tool.to_string(),
            Measured::Strategy(strategy) => strategy.to_string(),
        }
    }
}

/// A name that no other place has.
pub(super) fn unique() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_micros() as u64);
    format!("cmp-{now:x}-{:x}", MADE.fetch_add(1, Ordering::Relaxed))
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NatsBench => "nats bench",
            Self::NatsBenchFast => "nats bench fast",
            Self::KafkaPerf => "kafka perf-test",
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TaskPerMessage => "a task per message",
            Self::Synchronous => "synchronous",
            Self::EveryHundred => "acks every 100",
            Self::SharedTask => "one shared ack task",
            Self::Engine => "eventbus",
        })
    }
}
