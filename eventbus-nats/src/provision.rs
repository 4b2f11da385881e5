//! Streams: found, compared with what they should be, or created.

use std::{sync::Arc, time::Duration};

use eventbus_core::{Error, ErrorKind, Provision, Topic, TopicFilter};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    api::{Failure, PATIENCE},
    config::{FastIngest, NatsConfig, Storage, StreamMapping},
    connection::{Connection, Link},
    error::{self, STREAM_NAME_EXISTS, STREAM_NOT_FOUND, STREAM_OVERLAP},
    name,
};

/// The server's own.
const DEFAULT_DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What the API says about a stream, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct StreamState {
    #[serde(default)]
    pub(crate) first_seq: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) leader: Option<String>,
}

/// A stream's configuration, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    pub(crate) retention: String,
    pub(crate) storage: Storage,
    pub(crate) num_replicas: usize,
    #[serde(default = "unlimited")]
    pub(crate) max_bytes: i64,
    /// In nanoseconds; zero for ever.
    #[serde(default)]
    pub(crate) max_age: u64,
    /// In nanoseconds; zero on creation means the server's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) duplicate_window: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sealed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_ack: bool,
    /// Whether it takes batches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_batched: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_atomic: bool,
    #[serde(default, skip_serializing)]
    pub(crate) mirror: Option<serde::de::IgnoredAny>,
}

const fn unlimited() -> i64 {
    -1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(nanos: &u64) -> bool {
    *nanos == 0
}

/// The streams of a bus.
pub(crate) struct Streams {
    connection: Arc<Connection>,
    provision: Provision,
    /// Whether the server takes batches, and they are wanted.
    batches: bool,
    /// Whether the server takes atomic batches.
    atomic: bool,
    /// What was found out about each stream of the configuration.
    known: Vec<Mutex<Option<Provided>>>,
}

/// What is known of a stream that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Provided {
    pub(crate) duplicate_window: Duration,
    /// Whether it takes batches, as far as is known.
    pub(crate) batches: bool,
}

impl Streams {
    pub(crate) fn new(
        connection: Arc<Connection>,
        provision: Provision,
        batches: bool,
        atomic: bool,
    ) -> Self {
        let known = connection.config.streams.iter().map(|_| Mutex::default()).collect();
        Self { connection, provision, batches, atomic, known }
    }

    fn config(&self) -> &NatsConfig {
        &self.connection.config
    }

    /// The stream of `topic`, by its place in the configuration.
    pub(crate) fn of(&self, topic: &Topic) -> Result<usize, Error> {
        self.config().streams.find(topic).ok_or_else(|| {
            error::error(
                ErrorKind::TopicNotFound,
                "no stream of the configuration holds this topic; add it to `streams`",
            )
            .with_context("topic", topic)
        })
    }

    /// The streams that may hold what `filter` selects, each with its part of the filter.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<(usize, Vec<TopicFilter>)> {
        let parts = |stream: &StreamMapping| -> Vec<TopicFilter> {
            stream.topics.iter().filter_map(|topics| name::intersection(topics, filter)).collect()
        };
        let streams = self.config().streams.iter().map(parts).enumerate();
        streams.filter(|(_, parts)| !parts.is_empty()).collect()
    }

    /// Does what the provisioning setting says, once per stream.
    pub(crate) async fn provide(&self, index: usize) -> Result<Provided, Error> {
        let mut known = self.known[index].lock().await;
        if let Some(provided) = *known {
            return Ok(provided);
        }
        let provided = match self.provision {
            Provision::Create => self.create(index).await?,
            Provision::Verify => self.verify(index).await?,
            _ => Provided {
                duplicate_window: self
                    .config()
                    .duplicate_window
                    .unwrap_or(DEFAULT_DUPLICATE_WINDOW),
                batches: self.batches,
            },
        };
        *known = Some(provided);
        Ok(provided)
    }

    fn provided(&self, found: &StreamConfig) -> Provided {
        Provided {
            duplicate_window: Duration::from_nanos(found.duplicate_window),
            batches: self.batches && found.allow_batched,
        }
    }

    /// The stream turned out not to exist any more.
    pub(crate) async fn forget(&self, index: usize) {
        *self.known[index].lock().await = None;
    }

    /// Creates the stream if it does not exist, whatever the setting.
    pub(crate) async fn ensure(&self, index: usize) -> Result<(), Error> {
        self.create(index).await.map(|_| ())
    }

    pub(crate) async fn info(&self, index: usize) -> Result<StreamInfo, Failure> {
        let name = &self.config().streams.get(index).name;
        self.connection.ask(&format!("STREAM.INFO.{name}"), &()).await
    }

    /// What is wrong with the streams that are in use.
    pub(crate) async fn problems(&self, link: &Link) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, known) in self.known.iter().enumerate() {
            if known.try_lock().is_ok_and(|known| known.is_none()) {
                continue;
            }
            let name = &self.config().streams.get(index).name;
            let call = format!("STREAM.INFO.{name}");
            match self.connection.ask_over::<StreamInfo>(link, &call, &(), PATIENCE).await {
                Ok(info) => {
                    if info.cluster.is_some_and(|cluster| cluster.leader.is_none()) {
                        problems.push(format!("the stream {name} has no leader"));
                    }
                }
                Err(failure) => {
                    problems.push(format!("the stream {name}: {}", Error::from(failure)));
                }
            }
        }
        problems
    }

    async fn verify(&self, index: usize) -> Result<Provided, Error> {
        let mapping = self.config().streams.get(index);
        let info = self.info(index).await.map_err(|failure| in_stream(failure.into(), mapping))?;
        self.check(mapping, &info.config)?;
        Ok(self.provided(&info.config))
    }

    async fn create(&self, index: usize) -> Result<Provided, Error> {
        let mapping = self.config().streams.get(index);
        match self.info(index).await {
            Ok(info) => {
                self.check(mapping, &info.config)?;
                return Ok(self.provided(&info.config));
            }
            Err(failure) if failure.is(STREAM_NOT_FOUND) => {}
            Err(failure) => return Err(in_stream(failure.into(), mapping)),
        }
        let call = format!("STREAM.CREATE.{}", mapping.name);
        let wanted = self.wanted(mapping);
        match self.connection.ask::<StreamInfo>(&call, &wanted).await {
            Ok(info) => Ok(self.provided(&info.config)),
            // Somebody else was faster.
            Err(failure) if failure.is(STREAM_NAME_EXISTS) => self.verify(index).await,
            Err(failure) if failure.is(STREAM_OVERLAP) => Err(error::error(
                ErrorKind::TopicConflict,
                "another stream holds some of these subjects; map the topics to it with \
                 `streams`, or choose another `prefix`",
            )
            .with_context("stream", &mapping.name)
            .with_context("subjects", wanted.subjects.join(" "))),
            Err(failure) => Err(in_stream(failure.into(), mapping)),
        }
    }

    fn subjects(&self, mapping: &StreamMapping) -> Vec<String> {
        let subject = |topics: &TopicFilter| name::subject(&self.config().prefix, topics.as_str());
        mapping.topics.iter().map(subject).collect()
    }

    fn wanted(&self, mapping: &StreamMapping) -> StreamConfig {
        let config = self.config();
        StreamConfig {
            name: mapping.name.clone(),
            subjects: self.subjects(mapping),
            retention: "limits".to_owned(),
            storage: config.storage.unwrap_or_default(),
            num_replicas: config.replicas.unwrap_or(1),
            max_bytes: config.max_bytes.map_or(-1, as_limit),
            max_age: config.max_age.map_or(0, nanos),
            duplicate_window: config.duplicate_window.map_or(0, nanos),
            sealed: false,
            no_ack: false,
            allow_batched: self.batches,
            allow_atomic: self.atomic,
            mirror: None,
        }
    }

    /// Compares an existing stream with what is configured.
    fn check(&self, mapping: &StreamMapping, found: &StreamConfig) -> Result<(), Error> {
        let differences = differences(self.config(), &self.subjects(mapping), found);
        if differences.is_empty() {
            return Ok(());
        }
        Err(error::error(
            ErrorKind::TopicConflict,
            "the stream exists and does not fit, and an existing stream is never changed; change \
             it or the configuration",
        )
        .with_context("stream", &mapping.name)
        .with_context("difference:", differences.join("; ")))
    }
}

fn differences(config: &NatsConfig, subjects: &[String], found: &StreamConfig) -> Vec<String> {
    let mut all = Vec::new();
    for subject in subjects {
        if !found.subjects.iter().any(|held| name::is_covered(subject, held)) {
            all.push(format!("its subjects [{}] lack {subject}", found.subjects.join(" ")));
        }
    }
    let mut compare = |what: &str, found: String, wanted: Option<String>| {
        if wanted.as_ref().is_some_and(|wanted| *wanted != found) {
            let wanted = wanted.unwrap_or_default();
            all.push(format!("`{what}` is {found}, configured is {wanted}"));
        }
    };
    let as_text = |nanos: u64| humantime::format_duration(Duration::from_nanos(nanos)).to_string();
    compare("retention", found.retention.clone(), Some("limits".to_owned()));
    compare(
        "storage",
        found.storage.as_str().to_owned(),
        config.storage.map(|storage| storage.as_str().to_owned()),
    );
    compare("replicas", found.num_replicas.to_string(), config.replicas.map(|n| n.to_string()));
    compare("max_bytes", found.max_bytes.to_string(), config.max_bytes.map(|n| n.to_string()));
    compare("max_age", as_text(found.max_age), config.max_age.map(nanos).map(as_text));
    compare(
        "duplicate_window",
        as_text(found.duplicate_window),
        config.duplicate_window.map(nanos).map(as_text),
    );
    if config.fast_ingest == FastIngest::Always && !found.allow_batched {
        all.push("`allow_batched` is not set, and `fast_ingest` is `always`".to_owned());
    }
    if found.sealed {
        all.push("it is sealed".to_owned());
    }
    if found.no_ack {
        all.push("it acknowledges nothing (`no_ack`)".to_owned());
    }
    if found.mirror.is_some() {
        all.push("it is a mirror".to_owned());
    }
    all
}

fn in_stream(error: Error, mapping: &StreamMapping) -> Error {
    error.with_context("stream", &mapping.name)
}

fn as_limit(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The API counts time in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> StreamConfig {
        StreamConfig {
            name: "S".to_owned(),
            subjects: vec!["eb.>".to_owned()],
            retention: "limits".to_owned(),
            storage: Storage::File,
            num_replicas: 1,
            max_bytes: -1,
            max_age: 0,
            duplicate_window: nanos(Duration::from_secs(120)),
            sealed: false,
            no_ack: false,
            allow_batched: false,
            allow_atomic: false,
            mirror: None,
        }
    }

    #[test]
    fn only_what_is_configured_is_compared() {
        let subjects = ["eb.orders.>".to_owned()];
        let mut config = NatsConfig::default();
        assert!(differences(&config, &subjects, &found()).is_empty());
        config.storage = Some(Storage::Memory);
        config.duplicate_window = Some(Duration::from_millis(1500));
        let all = differences(&config, &subjects, &found());
        assert_eq!(
            all,
            [
                "`storage` is file, configured is memory",
                "`duplicate_window` is 2m, configured is 1s 500ms"
            ]
        );
    }

    #[test]
    fn streams_that_cannot_work_are_refused() {
        let found = StreamConfig {
            retention: "workqueue".to_owned(),
            subjects: vec!["eb.a".to_owned()],
            no_ack: true,
            ..found()
        };
        let all = differences(&NatsConfig::default(), &["eb.>".to_owned()], &found);
        assert_eq!(all.len(), 3, "{all:?}");
    }
}
