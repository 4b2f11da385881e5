//! A place at a broker that one measurement has for itself.

use std::fmt;

use eventbus_core::{BusUrl, Error, ErrorKind, Registry, Topic, TopicFilter};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Job, Measured, job::unique};
use crate::Mode;

/// A topic, and on NATS a stream, with a name that no other measurement has.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The bus, with what the place needs.
    pub(crate) url: String,
    pub(crate) topic: Topic,
    /// All topics of the load; those that `topic` is the beginning of, if there are several.
    pub(crate) topics: Vec<Topic>,
    /// What selects them.
    pub(crate) filter: TopicFilter,
    /// `host:port`s, with credentials if there are any.
    pub(crate) servers: String,
    /// The name that makes it unique.
    pub(crate) name: String,
    backend: String,
}

impl Place {
    /// The place that `job` names.
    pub(crate) fn of(job: &Job) -> Result<Self, Error> {
        let name = job.place.clone().unwrap_or_else(unique);
        let parsed: BusUrl = job.url.parse()?;
        let topic: Topic = format!("bench.{name}").parse()?;
        let mut place = Self {
            url: job.url.clone(),
            topics: job.load.all_topics(&topic)?,
            filter: job.load.filter(&topic)?,
            topic,
            servers: parsed.authority().to_owned(),
            name,
            backend: job.backend.clone(),
        };
        place.arrange(job)?;
        Ok(place)
    }

    /// Makes at the broker what the bus would not make by itself.
    pub(crate) async fn make(&self, job: &Job, registry: &Registry) -> Result<(), Error> {
        const AT_ONCE: usize = 32;
        if job.measured == Measured::Bus || job.backend == "memory" {
            return Ok(());
        }
        let bus = registry.builder(&self.url).connect().await?;
        let made = stream::iter(&self.topics).map(|topic| bus.ensure_topic(topic));
        let made = made.buffer_unordered(AT_ONCE).try_collect::<()>().await;
        bus.close().await?;
        made
    }

    /// Adds to the URL what the backend needs for a place of its own.
    fn arrange(&mut self, job: &Job) -> Result<(), Error> {
        match job.backend.as_str() {
            "memory" => {
                let reads = job.load.mode == Mode::Consume || job.load.verify;
                if reads && !self.url.contains("retention_bytes=") {
                    self.add(&format!("retention_bytes={}", job.load.stored_bytes().max(64 << 20)));
                }
                Ok(())
            }
            "nats" => {
                if ["prefix=", "streams="].iter().any(|parameter| self.url.contains(parameter)) {
                    return Err(Error::new(
                        ErrorKind::InvalidConfig,
                        "leave `prefix` and `streams` out of the URL: each measurement has a \
                         stream of its own",
                    ));
                }
                // `>`, where others could be in the stream too.
                let held = if job.stream_holds_more { "%3E" } else { self.filter.as_str() };
                self.add(&format!("prefix={0}&streams={0}:{held}", self.name));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, parameters: &str) {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        self.url.push(separator);
        self.url.push_str(parameters);
    }

    /// The subject of a topic, or of what a filter selects, on NATS.
    pub(crate) fn subject(&self, topic: impl fmt::Display) -> String {
        format!("{}.{topic}", self.name)
    }

    /// Removes what was made at the broker, if anything was.
    pub(crate) async fn remove(self) -> Result<(), Error> {
        match self.backend.as_str() {
            #[cfg(feature = "nats")]
            "nats" => crate::raw::nats::delete_stream(&self).await,
            #[cfg(feature = "kafka")]
            "kafka" => crate::raw::kafka::delete_topics(&self).await,
            _ => Ok(()),
        }
    }
}
