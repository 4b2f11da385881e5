//! Messages whose headers the client cannot read.
//!
//! The client gives up the connection over which such a message comes, and with it whatever
//! else was on its way; the server then delivers all of it again, for ever. So when the
//! connection is lost again, what is delivered and was not seen is looked up in the stream,
//! where the headers come as data, and what cannot come in any other way is put at the desk.
//! If it has to come again, it does so from there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use async_nats::Subject;
use bytes::Bytes;
use data_encoding::BASE64;
use eventbus_core::{Error, ErrorKind, backend::Content};
use serde::{Deserialize, Serialize};

use crate::{
    arrivals::Arrival,
    desk::{ACK, IN_PROGRESS},
    error::{self, NO_MESSAGE_FOUND},
    feed::Feed,
    headers::{is_readable, read},
    pull::Puller,
    words::Words,
};

/// How many messages are looked at after one loss; the next one goes on from there.
const MOST: usize = 4096;
/// A second loss within two `ack_wait`s and this is looked into.
const SLACK: Duration = Duration::from_secs(10);

/// What is known about a consumer's messages that the client cannot read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    /// All up to here were looked at.
    checked: u64,
    /// How often each was put at the desk.
    known: BTreeMap<u64, u32>,
}

impl Unreadable {
    /// Those that are known.
    pub(crate) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.known.keys().copied()
    }

    /// The consumer was made anew: it delivers them again, also the settled ones. What was `kept`
    /// was not handed out.
    pub(crate) fn restart(&mut self, kept: impl Fn(u64) -> bool) {
        self.checked = 0;
        self.known.retain(|sequence, _| !kept(*sequence));
    }
}

#[derive(Serialize)]
struct Get<'a> {
    seq: u64,
    next_by_subj: &'a str,
}

#[derive(Deserialize)]
struct Got {
    message: Stored,
}

/// A message as the stream has it.
#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl Puller {
    /// Whether the connection was lost twice in such a time that a message may be the cause.
    pub(crate) fn lost_again(&mut self) -> bool {
        let now = Instant::now();
        let before = self.lost.replace(now);
        before.is_some_and(|before| now - before <= self.desk.ack_wait * 2 + SLACK)
    }

    /// Puts at the desk what would only ever cost the connection. Gives what is to be said.
    pub(crate) async fn rescue(&mut self) -> Words {
        let mut words = Words::new();
        for index in 0..self.feeds.len() {
            match self.rescue_from(index).await {
                Ok(more) => words.extend(more),
                Err(error) => {
                    tracing::warn!(%error, "the connection is lost again and again, and it cannot \
                        be seen whether a message is the cause");
                }
            }
        }
        words
    }

    async fn rescue_from(&mut self, index: usize) -> Result<Words, Error> {
        let consumer = self.feeds[index].consumer.clone();
        let Some(info) = consumer.find(&self.connection).await? else { return Ok(Words::new()) };
        let unreadable = &self.feeds[index].unreadable;
        let first = info.ack_floor.stream_seq.max(unreadable.checked) + 1;
        let (found, checked) = self.look(index, first, info.delivered.stream_seq).await?;
        let unreadable = &mut self.feeds[index].unreadable;
        unreadable.checked = unreadable.checked.max(checked);
        unreadable.known.retain(|sequence, _| *sequence > info.ack_floor.stream_seq);
        if let Some(first) = found.first()
            && self.desk.cumulative
        {
            // An acknowledgement needs the consumer's own count, which only the delivery tells.
            self.desk.fail(unreadable_error(&consumer.stream, first.seq));
            return Ok(Words::new());
        }
        let count = info.delivered.consumer_seq;
        let (found, unwanted): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|stored| self.is_wanted(stored));
        let known = &mut self.feeds[index].unreadable.known;
        known.extend(unwanted.iter().map(|stored| (stored.seq, 0)));
        let mut words = self.settled(index, count);
        let arrivals: Vec<_> =
            found.iter().filter_map(|stored| self.rescued(index, stored, count)).collect();
        words.extend(
            arrivals.iter().map(|arrival| (arrival.reply.clone(), Bytes::from_static(IN_PROGRESS))),
        );
        let feed = &mut self.feeds[index];
        let arrivals: Vec<_> =
            arrivals.into_iter().filter_map(|arrival| feed.keep(arrival)).collect();
        words.extend(self.desk.admit(arrivals.into_iter()));
        Ok(words)
    }

    /// Whether a message is for the application.
    fn is_wanted(&mut self, stored: &Stored) -> bool {
        let topic = self.topic_of(&stored.subject);
        topic.is_some_and(|(topic, _)| !self.is_before_start(&topic, stored.seq))
    }

    /// Acknowledges what is known and not here: it was settled, or nobody wants it. Again each
    /// time, because it may be lost with the connection, and nothing else ends its deliveries.
    fn settled(&self, index: usize, count: u64) -> Words {
        let Feed { consumer, unreadable, recall, .. } = &self.feeds[index];
        let (stream, name) = (&consumer.stream, &consumer.config.name);
        let here = self.desk.sequences_of(index);
        let settled = unreadable.sequences().filter(|s| !here.contains(s) && !recall.keeps(*s));
        let subject =
            |sequence| ack_subject(stream, name, 1, sequence, count, SystemTime::UNIX_EPOCH);
        settled.map(|sequence| (subject(sequence), Bytes::from_static(ACK))).collect()
    }

    /// Looks at the messages of a consumer from `first` to `last`. Gives those that the client
    /// cannot read, and up to where it looked.
    async fn look(&self, index: usize, first: u64, last: u64) -> Result<(Vec<Stored>, u64), Error> {
        let config = &self.feeds[index].consumer.config;
        let mut filters = config.filter_subjects.clone();
        filters.push(config.filter_subject.clone());
        filters.retain(|filter| !filter.is_empty());
        let (mut found, mut checked) = (Vec::new(), last);
        for filter in filters {
            let mut next = first;
            for looked in 0.. {
                if next > last || self.desk.is_over() {
                    break;
                }
                if looked == MOST {
                    checked = checked.min(next - 1);
                    break;
                }
                let Some(stored) = self.get(index, next, &filter).await? else { break };
                next = stored.seq + 1;
                if stored.seq <= last && !is_readable(&stored.headers()?) {
                    found.push(stored);
                }
            }
        }
        found.sort_unstable_by_key(|stored| stored.seq);
        Ok((found, checked))
    }

    /// The first message of the stream from `seq` on with such a subject.
    async fn get(
        &self,
        index: usize,
        seq: u64,
        next_by_subj: &str,
    ) -> Result<Option<Stored>, Error> {
        let call = format!("STREAM.MSG.GET.{}", self.feeds[index].consumer.stream);
        match self.connection.ask::<Got>(&call, &Get { seq, next_by_subj }).await {
            Ok(got) => Ok(Some(got.message)),
            Err(failure) if failure.is(NO_MESSAGE_FOUND) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A message as if it had come. `count` is how much its consumer has delivered.
    fn rescued(&mut self, index: usize, stored: &Stored, count: u64) -> Option<Arrival> {
        let (topic, is_raw) = self.topic_of(&stored.subject)?;
        let (headers, payload) = (stored.headers().ok()?, stored.payload().ok()?);
        let published_at = humantime::parse_rfc3339(&stored.time).ok()?;
        let content = if is_raw {
            let key_header = &self.connection.config.raw_key_header;
            Content::Raw(Box::new(read(&headers, payload, key_header)))
        } else {
            Content::Encoded(payload)
        };
        let key = self.key_of(&topic, &content);
        let feed = &mut self.feeds[index];
        let times = feed.unreadable.known.entry(stored.seq).or_insert(0);
        let repeated = *times > 0;
        *times += 1;
        let attempt = *times;
        if !feed.recall.on {
            feed.last_seen = feed.last_seen.max(stored.seq);
        }
        let (stream, consumer) = (&feed.consumer.stream, &feed.consumer.config.name);
        tracing::warn!(%stream, %consumer, sequence = stored.seq,
            "the headers of a message cannot be read, which costs the connection each time");
        Some(Arrival {
            consumer: index,
            epoch: feed.epoch,
            sequence: stored.seq,
            reply: ack_subject(stream, consumer, attempt, stored.seq, count, published_at),
            topic,
            content,
            attempt,
            published_at,
            key,
            repeated,
            alone: !feed.consumer.grouped,
            unreadable: true,
        })
    }
}

impl Stored {
    fn headers(&self) -> Result<Vec<u8>, Error> {
        decode(&self.hdrs)
    }

    fn payload(&self) -> Result<Bytes, Error> {
        decode(&self.data).map(Bytes::from)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text.as_bytes()).map_err(|failure| {
        error::error(ErrorKind::Unexpected, "the server sent a stored message that is no base64")
            .with_context("cause:", failure)
    })
}

/// Where the server takes acknowledgements. With explicit ones it goes by the stream's sequence;
/// `count`, the consumer's own, only must be one that it has had.
pub(crate) fn ack_subject(
    stream: &str,
    consumer: &str,
    attempt: u32,
    sequence: u64,
    count: u64,
    published_at: SystemTime,
) -> Subject {
    let since = published_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = since.as_nanos();
    format!("$JS.ACK.{stream}.{consumer}.{attempt}.{sequence}.{count}.{since}.0").into()
}

fn unreadable_error(stream: &str, sequence: u64) -> Error {
    error::error(
        ErrorKind::InvalidEnvelope,
        "the headers of a message cannot be read, and a cumulative subscription cannot pass over \
         it; read on with a group that is not cumulative (removing the message would acknowledge \
         all that is before it)",
    )
    .with_context("stream", stream)
    .with_context("sequence", sequence)
}
