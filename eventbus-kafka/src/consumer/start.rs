//! Fixing where a subscription starts, before it reads.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use eventbus_core::{Error, ErrorKind, Start, Topic, TopicFilter};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
};

use super::{
    Consumer, Phase, Shared,
    assigner::{From, Place, committed},
    discovery,
    offsets::Progress,
};
use crate::error::{self, error};

/// One question to the broker.
const QUESTION: Duration = Duration::from_millis(1000);

/// Asks the broker, again while it cannot answer, and not when the source has ended meanwhile.
pub(super) struct Asking<'a> {
    pub(super) consumer: &'a Consumer,
    pub(super) shared: &'a Shared,
    pub(super) deadline: Instant,
}

impl Asking<'_> {
    fn ask<T>(&self, question: impl Fn(&Consumer) -> KafkaResult<T>) -> Result<T, Error> {
        loop {
            let kafka = match question(self.consumer) {
                Ok(answer) => return Ok(answer),
                Err(kafka) => kafka,
            };
            let error = error::from_kafka(&kafka);
            if let Some(error) = self.shared.trouble.final_error() {
                return Err(error);
            }
            if self.shared.desk().phase != Phase::Open {
                return Err(error_ended());
            }
            let temporary = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::AckTimeout);
            if !temporary {
                return Err(error);
            }
            if Instant::now() >= self.deadline {
                return Err(self.shared.trouble.explain(error));
            }
            tracing::debug!(%kafka, "the broker cannot answer yet");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// The partitions that exist.
    pub(super) fn partitions(&self, filter: &TopicFilter) -> Result<Vec<(Topic, i32)>, Error> {
        self.ask(|consumer| discovery::partitions(consumer, filter, QUESTION))
    }

    /// Gives a group without any position its start, by committing it: from then on it holds
    /// for all members. What has no position afterwards starts at its beginning.
    pub(super) fn fix_group(&self, all: &[(Topic, i32)], start: &Start) -> Result<(), Error> {
        if all.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(all.len());
        for (topic, number) in all {
            list.add_partition(topic.as_str(), *number);
        }
        let known = self.ask(|consumer| committed(consumer, &list, QUESTION))?;
        let has_position = known.elements().iter().any(|e| matches!(e.offset(), Offset::Offset(_)));
        if has_position || *start == Start::Earliest {
            return Ok(());
        }
        let mut positions = TopicPartitionList::new();
        for place in self.places(all, start)? {
            if let From::At(offset) = place.from {
                let offset = Offset::Offset(offset);
                positions
                    .add_partition_offset(place.topic.as_str(), place.number, offset)
                    .map_err(|kafka| error::from_kafka(&kafka))?;
            }
        }
        if positions.count() == 0 {
            return Ok(());
        }
        self.ask(|consumer| match consumer.commit(&positions, CommitMode::Sync) {
            // The group has members already, so it started before.
            Err(KafkaError::ConsumerCommit(
                Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress,
            )) => Ok(()),
            result => result,
        })
    }

    /// Where each partition starts.
    pub(super) fn places(&self, all: &[(Topic, i32)], start: &Start) -> Result<Vec<Place>, Error> {
        let from: HashMap<(&str, i32), i64> = match start {
            Start::Earliest => HashMap::new(),
            Start::Latest => self.ends(all)?,
            Start::Positions(positions) => {
                let ends = self.ends(all)?;
                let mut from = HashMap::new();
                for position in positions {
                    let number = i32::try_from(position.partition()).unwrap_or(i32::MAX);
                    let place = (position.topic().as_str(), number);
                    // Behind the end there is nothing yet: reading there would be an error.
                    let end = ends.get(&place).copied().unwrap_or_default();
                    let offset = i64::try_from(position.offset()).unwrap_or(i64::MAX).min(end);
                    from.insert(place, offset);
                }
                from
            }
            Start::Time(time) => self.offsets_at(all, *time)?,
            other => {
                return Err(error(ErrorKind::Unsupported, "Kafka has no such start")
                    .with_context("start", format!("{other:?}")));
            }
        };
        let places = all.iter().map(|(topic, number)| Place {
            topic: topic.clone(),
            number: *number,
            from: from.get(&(topic.as_str(), *number)).map_or(From::Beginning, |at| From::At(*at)),
            progress: Progress::default(),
        });
        Ok(places.collect())
    }

    fn ends<'a>(&self, all: &'a [(Topic, i32)]) -> Result<HashMap<(&'a str, i32), i64>, Error> {
        let mut ends = HashMap::with_capacity(all.len());
        for (topic, number) in all {
            let name = topic.as_str();
            let (_, end) =
                self.ask(|consumer| consumer.fetch_watermarks(name, *number, QUESTION))?;
            ends.insert((name, *number), end);
        }
        Ok(ends)
    }

    /// The first offsets stored at a time or later; the end where there is none yet.
    fn offsets_at<'a>(
        &self,
        all: &'a [(Topic, i32)],
        time: SystemTime,
    ) -> Result<HashMap<(&'a str, i32), i64>, Error> {
        // The ends first: what is published in between must not be skipped.
        let mut from = self.ends(all)?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Kafka counts milliseconds: rounded up, nothing earlier is delivered.
        let millis = since.as_nanos().div_ceil(1_000_000);
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        let mut list = TopicPartitionList::with_capacity(all.len());
        for (topic, number) in all {
            list.add_partition_offset(topic.as_str(), *number, Offset::Offset(millis))
                .map_err(|kafka| error::from_kafka(&kafka))?;
        }
        let found = self.ask(|consumer| consumer.offsets_for_times(list.clone(), QUESTION))?;
        for element in found.elements() {
            if let Offset::Offset(offset) = element.offset()
                && let Some(place) = from
                    .iter_mut()
                    .find(|((topic, n), _)| *topic == element.topic() && *n == element.partition())
            {
                *place.1 = offset;
            }
        }
        Ok(from)
    }
}

fn error_ended() -> Error {
    error(ErrorKind::Closed, "the subscription was given up before it started")
}
