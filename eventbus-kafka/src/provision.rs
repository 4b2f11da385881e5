//! Topics: finding and creating them, and what the cluster says about itself.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use eventbus_core::{Error, ErrorKind, Provision, Topic, TopicFilter};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    error::RDKafkaErrorCode as Code,
    metadata::Metadata,
    producer::Producer as _,
};

use crate::{
    KafkaConfig,
    client::PlainContext,
    config::OVERHEAD_BYTES,
    error::{self, error},
    publish::{Producer, Publisher},
};

/// One question to the broker; longer waits ask again.
const QUESTION: Duration = Duration::from_millis(1000);
/// How long a new topic may take until every partition has a leader.
const CREATION: Duration = Duration::from_secs(10);

/// How long a publish waits for partitions that nobody serves, before it is tried.
const SERVICE: Duration = Duration::from_secs(5);

/// A topic as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) partitions: Vec<i32>,
    /// Every partition has a leader.
    pub(crate) complete: bool,
}

/// The topics in an answer, without those that the broker reports an error for.
pub(crate) fn topics(metadata: &Metadata) -> Vec<Known> {
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    topics
        .map(|topic| Known {
            name: topic.name().to_owned(),
            partitions: topic.partitions().iter().map(|partition| partition.id()).collect(),
            complete: !topic.partitions().is_empty()
                && topic.partitions().iter().all(|partition| partition.leader() >= 0),
        })
        .filter(|topic| !topic.partitions.is_empty())
        .collect()
}

/// The topics that a filter selects.
pub(crate) fn selected(topics: Vec<Known>, filter: &TopicFilter) -> Vec<Known> {
    let selects = |known: &Known| known.name.parse().is_ok_and(|topic| filter.matches(&topic));
    topics.into_iter().filter(selects).collect()
}

/// Finds and creates topics.
pub(crate) struct Topics {
    config: KafkaConfig,
    provision: Provision,
    admin: RwLock<Option<Arc<AdminClient<PlainContext>>>>,
}

impl Topics {
    pub(crate) fn new(config: KafkaConfig, provision: Provision) -> Self {
        Self { config, provision, admin: RwLock::new(None) }
    }

    /// Finds a topic to publish to, or creates it if provisioning says so, and waits until its
    /// partitions take messages.
    pub(crate) async fn find(&self, publisher: &Publisher, topic: &Topic) -> Result<(), Error> {
        if self.provision == Provision::None {
            return Ok(());
        }
        self.find_for_reading(publisher, topic).await?;
        wait_until_served(publisher, topic).await
    }

    /// Finds a topic to read, or creates it if provisioning says so.
    pub(crate) async fn find_for_reading(
        &self,
        publisher: &Publisher,
        topic: &Topic,
    ) -> Result<(), Error> {
        match self.provision {
            Provision::Create => self.ensure(publisher, topic).await,
            _ if self.look(publisher, topic).await?.is_some() => Ok(()),
            _ => {
                self.check_collision(publisher, topic).await?;
                Err(not_found(topic))
            }
        }
    }

    async fn look(&self, publisher: &Publisher, topic: &Topic) -> Result<Option<Known>, Error> {
        let known = ask(publisher, Some(topic), self.config.connect_timeout).await?;
        Ok(known.into_iter().find(|known| known.name == topic.as_str()))
    }

    /// Creates a topic if it does not exist.
    pub(crate) async fn ensure(&self, publisher: &Publisher, topic: &Topic) -> Result<(), Error> {
        if self.look(publisher, topic).await?.is_some() {
            return Ok(());
        }
        match self.create(topic).await? {
            Ok(()) | Err(Code::TopicAlreadyExists) => {}
            Err(code) => {
                if code == Code::InvalidTopic {
                    self.check_collision(publisher, topic).await?;
                }
                return Err(error::from_code(code).with_context("topic", topic));
            }
        }
        self.wait_for_leaders(publisher, topic).await
    }

    /// Whether a topic cannot be there because of another one.
    async fn check_collision(&self, publisher: &Publisher, topic: &Topic) -> Result<(), Error> {
        check_collision(&list(publisher, self.config.connect_timeout).await?, topic)
    }

    async fn create(&self, topic: &Topic) -> Result<Result<(), Code>, Error> {
        let settings = self.settings();
        let count = |number: Option<u32>| number.map_or(-1, |n| i32::try_from(n).unwrap_or(-1));
        let mut new = NewTopic::new(
            topic.as_str(),
            count(self.config.partitions),
            TopicReplication::Fixed(count(self.config.replicas)),
        );
        for (name, value) in &settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(CREATION))
            .operation_timeout(Some(CREATION / 2));
        let admin = self.admin()?;
        let results = admin.create_topics([&new], &options).await;
        let results = results.map_err(|kafka| error::from_kafka(&kafka))?;
        Ok(results.into_iter().next().unwrap_or(Ok(String::new())).map(drop).map_err(|e| e.1))
    }

    /// What a created topic is set to. Its time is the broker's, so that reading from a time
    /// does not depend on the clocks of publishers.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let largest = self.config.max_message_bytes + OVERHEAD_BYTES;
        let mut settings = vec![
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("max.message.bytes", largest.to_string()),
        ];
        if let Some(bytes) = self.config.max_bytes {
            settings.push(("retention.bytes", bytes.to_string()));
        }
        if let Some(age) = self.config.max_age {
            settings.push(("retention.ms", age.as_millis().to_string()));
        }
        settings
    }

    async fn wait_for_leaders(&self, publisher: &Publisher, topic: &Topic) -> Result<(), Error> {
        let deadline = Instant::now() + CREATION;
        loop {
            if self.look(publisher, topic).await?.is_some_and(|known| known.complete) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = "the topic was created, and has no leader yet; try again";
                return Err(error(ErrorKind::Unavailable, message).with_context("topic", topic));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn admin(&self) -> Result<Arc<AdminClient<PlainContext>>, Error> {
        if let Some(admin) = &*self.admin.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(admin.clone());
        }
        let mut admin = self.admin.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(admin) = &*admin {
            return Ok(admin.clone());
        }
        let made: Result<AdminClient<PlainContext>, _> =
            self.config.admin().create_with_context(PlainContext::default());
        let made = Arc::new(made.map_err(|kafka| error::from_kafka(&kafka))?);
        *admin = Some(made.clone());
        Ok(made)
    }

    /// The client that creates topics, to be dropped where that may block.
    pub(crate) fn take_admin(&self) -> Option<Arc<AdminClient<PlainContext>>> {
        self.admin.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// All topics of the cluster.
pub(crate) async fn list(publisher: &Publisher, within: Duration) -> Result<Vec<Known>, Error> {
    ask(publisher, None, within).await
}

/// One topic or all of them, asked for until there is an answer or `within` is over. (One is
/// cheaper: librdkafka compares each in the answer with all that were sent to.)
async fn ask(
    publisher: &Publisher,
    only: Option<&Topic>,
    within: Duration,
) -> Result<Vec<Known>, Error> {
    let deadline = Instant::now() + within;
    loop {
        let Some(producer) = publisher.producer() else {
            return Err(error(ErrorKind::Unavailable, "the connection is being renewed or closed"));
        };
        let remaining = deadline.saturating_duration_since(Instant::now());
        let answer = ask_once(producer, only.cloned(), QUESTION.min(remaining)).await?;
        let failure = match answer {
            Ok(known) => {
                publisher.trouble().clear();
                return Ok(known);
            }
            Err(failure) => failure,
        };
        if let Some(error) = publisher.trouble().final_error() {
            return Err(error);
        }
        if Instant::now() >= deadline {
            return Err(publisher.trouble().explain(failure));
        }
    }
}

async fn ask_once(
    producer: Arc<Producer>,
    only: Option<Topic>,
    within: Duration,
) -> Result<Result<Vec<Known>, Error>, Error> {
    let question = move || {
        let metadata = producer.client().fetch_metadata(only.as_ref().map(Topic::as_str), within);
        metadata.map(|metadata| topics(&metadata)).map_err(|kafka| error::from_kafka(&kafka))
    };
    tokio::task::spawn_blocking(question).await.map_err(|_| shutting_down())
}

fn shutting_down() -> Error {
    error(ErrorKind::Closed, "the runtime is shutting down")
}

/// Waits until the leader of every partition serves it, which comes a moment after the cluster
/// knows the topic. A producer that is too early is told to try again, but its next request
/// may be taken meanwhile: then librdkafka believes that the first was taken too.
async fn wait_until_served(publisher: &Publisher, topic: &Topic) -> Result<(), Error> {
    let Some(producer) = publisher.producer() else { return Ok(()) };
    let name = topic.clone();
    let questions = move || {
        let deadline = Instant::now() + SERVICE;
        let metadata = producer.client().fetch_metadata(Some(name.as_str()), QUESTION);
        let known = metadata.map(|metadata| topics(&metadata)).unwrap_or_default();
        for number in known.into_iter().flat_map(|known| known.partitions) {
            let ask = || producer.client().fetch_watermarks(name.as_str(), number, QUESTION);
            while let Err(kafka) = ask() {
                if Instant::now() >= deadline {
                    tracing::warn!(topic = %name, number, %kafka, "a partition is not served yet");
                    return;
                }
            }
        }
    };
    tokio::task::spawn_blocking(questions).await.map_err(|_| shutting_down())
}

/// Kafka tells topics apart as if dots were underscores.
fn check_collision(known: &[Known], topic: &Topic) -> Result<(), Error> {
    let folded = |name: &str| name.replace('.', "_");
    let own = folded(topic.as_str());
    let other = known
        .iter()
        .find(|known| known.name != topic.as_str() && folded(&known.name) == own)
        // Where both exist already, both can be used.
        .filter(|_| !known.iter().any(|known| known.name == topic.as_str()));
    match other {
        None => Ok(()),
        Some(other) => Err(error(
            ErrorKind::TopicConflict,
            "Kafka cannot hold two topics whose names differ in `.` and `_` alone; choose another \
             name",
        )
        .with_context("topic", topic)
        .with_context("existing", &other.name)),
    }
}

fn not_found(topic: &Topic) -> Error {
    error(
        ErrorKind::TopicNotFound,
        "the topic does not exist; create it, or set `provision=create`",
    )
    .with_context("topic", topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Known {
        Known { name: name.to_owned(), partitions: vec![0], complete: true }
    }

    #[test]
    fn dots_and_underscores_collide() {
        let topics = [known("a_b"), known("c")];
        let check = |name: &str| check_collision(&topics, &name.parse().unwrap());
        assert_eq!(check("a.b").unwrap_err().kind(), ErrorKind::TopicConflict);
        check("a_b").unwrap();
        check("a.c").unwrap();
        let both = [known("a_b"), known("a.b")];
        check_collision(&both, &"a.b".parse().unwrap()).unwrap();
    }

    #[test]
    fn filters_select_names_that_are_topics() {
        let topics = vec![known("a.b"), known("a.b.c"), known("__x"), known("a..b")];
        let names = |filter: &str| -> Vec<String> {
            let selected = selected(topics.clone(), &filter.parse().unwrap());
            selected.into_iter().map(|known| known.name).collect()
        };
        assert_eq!(names("a.*"), ["a.b"]);
        assert_eq!(names(">"), ["a.b", "a.b.c"]);
    }
}
