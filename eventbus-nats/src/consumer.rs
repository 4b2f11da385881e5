//! Consumers: created, compared with what they should be, looked up and deleted.

use std::time::{Duration, SystemTime};

use eventbus_core::{Error, ErrorKind, SubscribeOptions};
use serde::{Deserialize, Serialize};

use crate::{
    api::Failure,
    connection::Connection,
    error::{self, CONSUMER_EXISTS, CONSUMER_NAME_EXISTS, CONSUMER_NOT_FOUND},
    provision::nanos,
};

/// How many unsettled messages all members of a group may have together. The members limit
/// themselves, so this is only to protect the server.
const MAX_ACK_PENDING: i64 = 1 << 17;
/// How long the consumer of a subscription without a group outlives its subscription when it
/// could not be deleted.
const INACTIVE: Duration = Duration::from_secs(300);

/// A consumer's configuration, as far as it matters here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ConsumerConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) durable_name: Option<String>,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) deliver_policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opt_start_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opt_start_time: Option<String>,
    pub(crate) ack_policy: String,
    #[serde(default)]
    pub(crate) ack_wait: u64,
    #[serde(default)]
    pub(crate) max_deliver: i64,
    #[serde(default)]
    pub(crate) max_ack_pending: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) filter_subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filter_subjects: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) inactive_threshold: u64,
    #[serde(default, skip_serializing)]
    pub(crate) deliver_subject: Option<String>,
    #[serde(default, skip_serializing)]
    pub(crate) backoff: Vec<u64>,
    replay_policy: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
const fn is_zero(nanos: &u64) -> bool {
    *nanos == 0
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Sequences {
    #[serde(default)]
    pub(crate) consumer_seq: u64,
    #[serde(default)]
    pub(crate) stream_seq: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ConsumerInfo {
    pub(crate) config: ConsumerConfig,
    #[serde(default)]
    pub(crate) ack_floor: Sequences,
    #[serde(default)]
    pub(crate) delivered: Sequences,
}

#[derive(Serialize)]
struct Create<'a> {
    stream_name: &'a str,
    config: &'a ConsumerConfig,
    action: &'static str,
}

/// Where a consumer starts that does not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartAt {
    First,
    New,
    Sequence(u64),
    Time(SystemTime),
}

/// One consumer: which stream, which name, which options.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) stream: String,
    pub(crate) config: ConsumerConfig,
    pub(crate) grouped: bool,
}

impl Consumer {
    /// The call that asks for its messages.
    pub(crate) fn next_call(&self) -> String {
        format!("CONSUMER.MSG.NEXT.{}.{}", self.stream, self.config.name)
    }

    /// Whether other members may read from it.
    pub(crate) fn may_be_shared(&self) -> bool {
        self.grouped && self.config.ack_policy == "explicit"
    }

    pub(crate) fn new(
        stream: String,
        name: String,
        subjects: Vec<String>,
        options: &SubscribeOptions,
    ) -> Self {
        let grouped = options.group.is_some();
        let mut config = ConsumerConfig {
            durable_name: grouped.then(|| name.clone()),
            name,
            ack_policy: if options.cumulative { "all" } else { "explicit" }.to_owned(),
            ack_wait: nanos(options.ack_wait),
            max_deliver: -1,
            max_ack_pending: MAX_ACK_PENDING,
            inactive_threshold: if grouped { 0 } else { nanos(INACTIVE) },
            replay_policy: "instant".to_owned(),
            ..ConsumerConfig::default()
        };
        match <[String; 1]>::try_from(subjects) {
            Ok([subject]) => config.filter_subject = subject,
            Err(subjects) => config.filter_subjects = subjects,
        }
        let mut consumer = Self { stream, config, grouped };
        consumer.start_at(StartAt::First);
        consumer
    }

    pub(crate) fn start_at(&mut self, start: StartAt) {
        let config = &mut self.config;
        config.opt_start_seq = None;
        config.opt_start_time = None;
        config.deliver_policy = match start {
            StartAt::First => "all",
            StartAt::New => "new",
            StartAt::Sequence(sequence) => {
                config.opt_start_seq = Some(sequence.max(1));
                "by_start_sequence"
            }
            StartAt::Time(time) => {
                config.opt_start_time = Some(humantime::format_rfc3339_nanos(time).to_string());
                "by_start_time"
            }
        }
        .to_owned();
    }

    /// Finds the consumer, or creates it. True when it was there.
    pub(crate) async fn provide(
        &self,
        connection: &Connection,
    ) -> Result<(ConsumerInfo, bool), Error> {
        if self.grouped
            && let Some(info) = self.find(connection).await?
        {
            self.check(&info)?;
            return Ok((info, true));
        }
        match self.create(connection).await {
            Ok(info) => Ok((info, false)),
            // Another member was faster.
            Err(failure) if failure.is(CONSUMER_EXISTS) || failure.is(CONSUMER_NAME_EXISTS) => {
                let info = self.find(connection).await?.ok_or_else(|| self.describe(failure))?;
                self.check(&info)?;
                Ok((info, true))
            }
            Err(failure) => Err(self.describe(failure)),
        }
    }

    async fn create(&self, connection: &Connection) -> Result<ConsumerInfo, Failure> {
        let Self { stream, config, .. } = self;
        let mut call = format!("CONSUMER.CREATE.{stream}.{}", config.name);
        if !config.filter_subject.is_empty() {
            call = format!("{call}.{}", config.filter_subject);
        }
        let body = Create { stream_name: stream, config, action: "create" };
        connection.ask(&call, &body).await
    }

    /// `None` when it does not exist.
    pub(crate) async fn find(
        &self,
        connection: &Connection,
    ) -> Result<Option<ConsumerInfo>, Error> {
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.config.name);
        match connection.ask(&call, &()).await {
            Ok(info) => Ok(Some(info)),
            Err(failure) if failure.is(CONSUMER_NOT_FOUND) => Ok(None),
            Err(failure) => Err(self.describe(failure)),
        }
    }

    pub(crate) async fn delete(&self, connection: &Connection) {
        let call = format!("CONSUMER.DELETE.{}.{}", self.stream, self.config.name);
        if let Err(failure) = connection.ask::<serde::de::IgnoredAny>(&call, &()).await {
            let error = Error::from(failure);
            tracing::debug!(%error, consumer = %self.config.name, "a consumer was not deleted");
        }
    }

    fn describe(&self, failure: Failure) -> Error {
        Error::from(failure)
            .with_context("stream", &self.stream)
            .with_context("consumer", &self.config.name)
    }

    fn check(&self, found: &ConsumerInfo) -> Result<(), Error> {
        let differences = differences(&self.config, &found.config);
        if differences.is_empty() {
            return Ok(());
        }
        Err(error::error(
            ErrorKind::GroupConflict,
            "the group exists with other options; subscribe with the same ones, or choose another \
             group",
        )
        .with_context("consumer", &self.config.name)
        .with_context("stream", &self.stream)
        .with_context("difference:", differences.join("; ")))
    }
}

fn differences(wanted: &ConsumerConfig, found: &ConsumerConfig) -> Vec<String> {
    let mut all = Vec::new();
    let mut compare = |what: &str, found: String, wanted: String| {
        if found != wanted {
            all.push(format!("`{what}` is {found}, asked for was {wanted}"));
        }
    };
    let wait = |nanos: u64| humantime::format_duration(Duration::from_nanos(nanos)).to_string();
    compare("ack_wait", wait(found.ack_wait), wait(wanted.ack_wait));
    let cumulative = |config: &ConsumerConfig| (config.ack_policy == "all").to_string();
    if found.ack_policy == "none" {
        compare("ack_policy", found.ack_policy.clone(), wanted.ack_policy.clone());
    } else {
        compare("cumulative", cumulative(found), cumulative(wanted));
    }
    compare("filter", filters(found), filters(wanted));
    compare("max_deliver", found.max_deliver.to_string(), wanted.max_deliver.to_string());
    if found.deliver_subject.is_some() {
        all.push("it is a push consumer".to_owned());
    }
    if !found.backoff.is_empty() {
        all.push("it has a `backoff` of its own".to_owned());
    }
    all
}

fn filters(config: &ConsumerConfig) -> String {
    let mut all = config.filter_subjects.clone();
    if !config.filter_subject.is_empty() {
        all.push(config.filter_subject.clone());
    }
    all.sort();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(options: &SubscribeOptions) -> Consumer {
        Consumer::new("S".to_owned(), "c".to_owned(), vec!["eb.a".to_owned()], options)
    }

    #[test]
    fn differences_are_named() {
        let options = SubscribeOptions::group("g").ack_wait(Duration::from_millis(1500));
        let other = SubscribeOptions::group("g").cumulative();
        let all = differences(&consumer(&other).config, &consumer(&options).config);
        assert_eq!(
            all,
            [
                "`ack_wait` is 1s 500ms, asked for was 30s",
                "`cumulative` is false, asked for was true"
            ]
        );
    }

    #[test]
    fn the_start_is_no_part_of_the_identity() {
        let options = SubscribeOptions::group("g");
        let mut other = consumer(&options);
        other.start_at(StartAt::Sequence(0));
        assert_eq!(other.config.opt_start_seq, Some(1));
        assert!(differences(&other.config, &consumer(&options).config).is_empty());
    }

    #[test]
    fn only_consumers_of_groups_are_durable() {
        assert_eq!(consumer(&SubscribeOptions::new()).config.durable_name, None);
        let durable = consumer(&SubscribeOptions::group("g")).config;
        assert_eq!((durable.durable_name.as_deref(), durable.inactive_threshold), (Some("c"), 0));
    }
}
