//! Experiments: one thing varies, all else stays.

use std::{fmt, str::FromStr};

use eventbus_core::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use super::{Cell, Plan, Shape, Target, plan::with_rivals};
use crate::{Job, Load, Measured, Mode, Strategy, has_client};

/// What varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Experiment {
    /// How acknowledgements are waited for, on NATS.
    AckStrategies,
    /// How many tasks publish at the same time.
    Publishers,
    /// The payload.
    Payload,
    /// Over how many keys the messages are spread.
    Keys,
    /// How many may be in flight.
    Window,
    /// To how many topics is published.
    Topics,
    /// From how many topics one subscription reads; on NATS all that their stream holds.
    TopicsConsumed,
    /// The same, where the stream could hold more than the subscription selects, on NATS.
    TopicsFiltered,
    /// How many subscriptions each get all messages.
    Subscriptions,
}

impl Experiment {
    /// All experiments.
    pub const ALL: [Self; 9] = [
        Self::AckStrategies,
        Self::Publishers,
        Self::Payload,
        Self::Keys,
        Self::Window,
        Self::Topics,
        Self::TopicsConsumed,
        Self::TopicsFiltered,
        Self::Subscriptions,
    ];

    /// The name, as written on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AckStrategies => "ack-strategies",
            Self::Publishers => "publishers",
            Self::Payload => "payload",
            Self::Keys => "keys",
            Self::Window => "window",
            Self::Topics => "topics",
            Self::TopicsConsumed => "topics-consumed",
            Self::TopicsFiltered => "topics-filtered",
            Self::Subscriptions => "subscriptions",
        }
    }

    /// What the axis shows.
    #[must_use]
    pub const fn axis(self) -> &'static str {
        match self {
            Self::AckStrategies => "messages in the burst",
            Self::Publishers => "tasks that publish",
            Self::Payload => "bytes of payload",
            Self::Keys => "keys",
            Self::Window => "envelopes in flight at most",
            Self::Topics => "topics that are published to",
            Self::TopicsConsumed => "topics that one subscription reads",
            Self::TopicsFiltered => "topics that one subscription selects",
            Self::Subscriptions => "subscriptions, each of which gets everything",
        }
    }

    /// The values of what varies.
    #[must_use]
    pub const fn values(self) -> &'static [u64] {
        match self {
            Self::AckStrategies => &[500, 2_000, 5_000, 10_000],
            Self::Publishers => &[1, 4, 16],
            Self::Payload => &[64, 256, 1_024, 4_096, 16_384, 65_536, 262_144],
            Self::Keys => &[1, 10, 100, 1_000, 10_000, 100_000],
            Self::Window => &[16, 64, 256, 1_024, 4_096, 16_384, 65_536],
            Self::Topics | Self::TopicsConsumed | Self::TopicsFiltered => &[1, 10, 100, 1_000],
            Self::Subscriptions => &[1, 4, 16],
        }
    }

    /// What to know when reading the result.
    #[must_use]
    pub const fn notes(self) -> &'static [&'static str] {
        match self {
            Self::AckStrategies => &[
                "a task per message: as many tasks as messages in flight, each with memory of its \
                 own; nothing bounds them but the client",
                "synchronous: one message per round trip, whatever the broker could do",
                "acks every 100: the pipeline runs empty a hundred messages apart; its latency is \
                 that of a whole hundred",
                "one shared ack task: nearly right, but acknowledgements are seen in order, so one \
                 that is lost holds up all behind it until its timeout",
                "eventbus: acknowledgements are matched as they come, by one task per bus",
            ],
            _ => &[],
        }
    }

    /// The cells, each for one value, on each of the buses, and where topics vary with the raw
    /// clients beside them.
    ///
    /// # Errors
    /// `InvalidConfig` when a URL is none, two buses cannot be told apart, or the experiment has no
    /// bus to be made on.
    pub fn plan(self, targets: &[Target], messages: u64, rounds: usize) -> Result<Plan, Error> {
        let mut cells = Vec::new();
        for &value in self.values() {
            let mut jobs = Vec::new();
            for target in targets {
                jobs.extend(self.jobs(target, value, messages)?);
            }
            let jobs = with_rivals(jobs, |bus| self.rivals(&bus.backend));
            if jobs.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    "this experiment is made on NATS; give a `nats://` URL",
                ));
            }
            let shape = match self {
                Self::AckStrategies => Shape::Burst(value),
                _ => Shape::At(value),
            };
            cells.push(Cell { id: cells.len(), shape, jobs });
        }
        Plan::new(cells, rounds)
    }

    /// What a broker and its client make of many topics is to be told from what the bus does.
    fn rivals(self, backend: &str) -> Vec<Measured> {
        let varied = matches!(self, Self::Topics | Self::TopicsConsumed | Self::TopicsFiltered);
        (varied && has_client(backend)).then_some(Measured::Client).into_iter().collect()
    }

    fn jobs(self, target: &Target, value: u64, messages: u64) -> Result<Vec<Job>, Error> {
        const SIZE: usize = 256;
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        // Enough for each of the topics to have its own.
        const KEYS: u32 = 1_000;
        let load = Load::new(Mode::Async, messages, SIZE);
        let load = match self {
            Self::AckStrategies => Load::new(Mode::Async, value, SIZE),
            Self::Publishers => load.publishers(number),
            // About as many bytes as messages of the usual size have.
            Self::Payload => {
                let fitting = (messages * SIZE as u64 / value.max(1)).clamp(1_000, messages);
                Load::new(Mode::Async, fitting, count)
            }
            Self::Keys => load.keys(number),
            Self::Window => load,
            Self::Topics => load.keys(KEYS).topics(number),
            Self::TopicsConsumed | Self::TopicsFiltered => {
                Load::new(Mode::Consume, messages, SIZE).keys(KEYS).topics(number)
            }
            // As many deliveries, whatever their number.
            Self::Subscriptions => {
                Load::new(Mode::Consume, messages / value.max(1), SIZE).subscriptions(number)
            }
        };
        let mut job = Job::new(&target.url, Measured::Bus, load)?;
        job.name.clone_from(&target.name);
        match self {
            Self::Window => job.window = count,
            // So that little is fetched before the clock starts, while the others are opened.
            Self::Subscriptions => job.window = 256,
            Self::AckStrategies => return Ok(strategies(&job)),
            Self::TopicsFiltered if job.backend != "nats" => return Ok(Vec::new()),
            Self::TopicsFiltered => job.stream_holds_more = true,
            _ => {}
        }
        Ok(vec![job])
    }
}

/// Each way to wait, with room for the whole burst.
fn strategies(job: &Job) -> Vec<Job> {
    if job.backend != "nats" {
        return Vec::new();
    }
    let measured = |strategy| match strategy {
        Strategy::Engine => Measured::Bus,
        other => Measured::Strategy(other),
    };
    let room = 10_000;
    let ways = Strategy::ALL.into_iter();
    ways.map(|way| Job { measured: measured(way), window: room, ..job.clone() }).collect()
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Experiment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| {
            let message = "an experiment is one of ack-strategies, publishers, payload, keys, \
                           window, topics, topics-consumed, topics-filtered, subscriptions";
            Error::new(ErrorKind::InvalidConfig, message).with_context("experiment", name)
        })
    }
}
