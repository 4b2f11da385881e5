//! The task of a source: keeps it full, and its consumers alive.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use eventbus_core::{Envelope, RawTopics, Topic, backend::Content};
use futures_util::stream::{ReadyChunks, StreamExt};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{
    arrivals::Arrival,
    connection::{Connection, Link},
    delivered::Origin,
    desk::{ACK, Desk, IN_PROGRESS},
    error::Violation,
    feed::{EXPIRES, Feed, HEARTBEAT, Status, status},
    name,
    per_key::Gate,
    provision::{Streams, nanos},
    raw,
    words::{Words, say},
    writer::at,
};

const CHUNK: usize = 256;
/// How many topic names are remembered.
const TOPICS: usize = 1024;
const SHORTEST_SWEEP: Duration = Duration::from_millis(5);
const LONGEST_SWEEP: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct PullRequest {
    batch: usize,
    expires: u64,
    idle_heartbeat: u64,
}

pub(crate) struct Puller {
    pub(crate) desk: Arc<Desk>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) feeds: Vec<Feed>,
    /// With an explicit start position, the first sequence of each topic.
    pub(crate) first: HashMap<Topic, u64>,
    raw: RawTopics,
    /// The topics of subjects, and whether they are raw.
    topics: HashMap<String, (Topic, bool)>,
    violations: broadcast::Receiver<Violation>,
    pub(crate) inbox: String,
    /// Messages of any kind that came to the inbox on this connection.
    pub(crate) taken: u64,
    /// When the connection was lost last.
    pub(crate) lost: Option<Instant>,
}

impl Puller {
    pub(crate) fn new(
        desk: Arc<Desk>,
        streams: Arc<Streams>,
        feeds: Vec<Feed>,
        first: HashMap<Topic, u64>,
        raw: RawTopics,
    ) -> Self {
        let connection = desk.connection.clone();
        let violations = connection.violations();
        let inbox = format!("{}.{}", connection.config.inbox_prefix, uuid::Uuid::now_v7().simple());
        let topics = HashMap::new();
        let (taken, lost) = (0, None);
        Self {
            desk,
            connection,
            streams,
            feeds,
            first,
            raw,
            topics,
            violations,
            inbox,
            taken,
            lost,
        }
    }

    /// Runs until the source is stopped or fails.
    pub(crate) async fn run(mut self) {
        let mut links = self.connection.links();
        let mut last = None;
        while !self.is_over() {
            let current = links.borrow_and_update().clone();
            let Some(link) = current.filter(|link| Some(link.number) != last) else {
                tokio::select! {
                    changed = links.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = self.desk.task.notified() => {}
                    () = tokio::time::sleep(self.sweep_period()) => {
                        self.desk.sweep();
                    }
                }
                continue;
            };
            let again = last.is_some() && self.lost_again();
            if last.is_some() {
                self.feeds.iter_mut().for_each(Feed::lost_connection);
            }
            last = Some(link.number);
            let Ok(messages) = link.client.subscribe(format!("{}.*", self.inbox)).await else {
                continue;
            };
            self.taken = 0;
            let mut chunks = messages.ready_chunks(CHUNK);
            if again {
                let words = self.rescue().await;
                let _ = say(&link.client, words).await;
            }
            self.pump(&link, &mut chunks).await;
            if self.is_over() {
                self.wind_up(&link, chunks).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.desk.is_over()
    }

    pub(crate) fn sweep_period(&self) -> Duration {
        (self.desk.ack_wait / 8).clamp(SHORTEST_SWEEP, LONGEST_SWEEP)
    }

    /// Takes messages in until the source is over or the link is lost.
    async fn pump(&mut self, link: &Link, chunks: &mut ReadyChunks<Subscriber>) {
        self.forget_requests();
        let mut clock = tokio::time::interval(self.sweep_period());
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.pull(&link.client).await;
            let due = self.desk.next_due();
            let words = tokio::select! {
                biased;
                chunk = chunks.next() => match chunk {
                    Some(chunk) => self.take(chunk),
                    None => return,
                },
                () = self.desk.task.notified() => Words::new(),
                () = at(due) => {
                    self.desk.release_due();
                    Words::new()
                }
                // When all that had come is taken in.
                () = std::future::ready(()), if self.has_found() => {
                    self.recall_lost().await;
                    self.take(Vec::new())
                }
                _ = clock.tick() => {
                    self.check_feeds().await;
                    let in_progress = self.desk.sweep().into_iter();
                    let in_progress =
                        in_progress.map(|reply| (reply, Bytes::from_static(IN_PROGRESS)));
                    in_progress.chain(self.take(Vec::new())).collect()
                }
                Ok(violation) = self.violations.recv() => {
                    self.forbidden(violation);
                    Words::new()
                }
            };
            if say(&link.client, words).await.is_err() || self.is_over() {
                return;
            }
        }
    }

    /// Asks for what there is room for.
    async fn pull(&mut self, client: &Client) {
        let now = Instant::now();
        let share = (self.desk.max_in_flight / self.feeds.len()).max(1);
        let mut requests = Vec::new();
        {
            let mut state = self.desk.lock();
            state.room_told = false;
            for (index, feed) in self.feeds.iter_mut().enumerate() {
                let used = state.messages.len() + state.requested;
                let mut free = self.desk.max_in_flight.saturating_sub(used);
                if feed.requested == 0 && state.messages.len() < self.desk.max_in_flight {
                    // Each consumer gets its turn, even when there are more than fit.
                    free = free.max(1);
                }
                let batch = feed.wanted(free, share, now);
                if batch > 0 {
                    if feed.requested == 0 {
                        feed.heard = now;
                    }
                    feed.requested += batch;
                    state.requested += batch;
                    requests.push((index, batch));
                }
            }
        }
        for (index, batch) in requests {
            let call = self.feeds[index].consumer.next_call();
            let request =
                PullRequest { batch, expires: nanos(EXPIRES), idle_heartbeat: nanos(HEARTBEAT) };
            let body = serde_json::to_vec(&request).unwrap_or_default();
            let reply = format!("{}.{index}", self.inbox);
            // A lost connection shows itself elsewhere.
            let _ = client.publish_with_reply(self.connection.api(&call), reply, body.into()).await;
        }
    }

    /// Takes a chunk of messages in. Gives what is to be said about them.
    pub(crate) fn take(&mut self, chunk: Vec<Message>) -> Words {
        self.taken += chunk.len() as u64;
        let mut arrivals = Vec::with_capacity(chunk.len());
        let mut words = Words::new();
        let now = Instant::now();
        for message in chunk {
            match status(&message) {
                Some(status) => self.take_status(&message, &status),
                None => match self.arrival(message, now) {
                    Ok(arrival) => self.let_in(arrival, &mut arrivals),
                    Err(Some(word)) => words.push(word),
                    Err(None) => {}
                },
            }
        }
        self.end_recalls(&mut arrivals);
        words.extend(self.desk.admit(arrivals.into_iter()));
        words
    }

    fn take_status(&mut self, message: &Message, status: &Status) {
        let index = message.subject.rsplit('.').next().and_then(|index| index.parse().ok());
        let Some(feed) = index.and_then(|index: usize| self.feeds.get_mut(index)) else { return };
        feed.heard = Instant::now();
        let gone = match *status {
            Status::Alive => return,
            Status::Ended(missing) => missing.min(feed.requested),
            Status::Gone | Status::Suspect => feed.requested,
        };
        feed.requested -= gone;
        if *status == Status::Suspect {
            feed.suspect = true;
        }
        if matches!(status, Status::Gone | Status::Suspect) {
            feed.pause();
            let status = message.description.as_deref().unwrap_or("no responders");
            tracing::debug!(consumer = %feed.consumer.config.name, status, "a pull request ended");
        }
        let mut state = self.desk.lock();
        state.requested = state.requested.saturating_sub(gone);
    }

    /// Reads a message; an error is what to say about one that is not for the application.
    fn arrival(
        &mut self,
        message: Message,
        now: Instant,
    ) -> Result<Arrival, Option<(Subject, Bytes)>> {
        let Some(origin) = Origin::of(&message) else { return Err(None) };
        let found =
            self.feeds.iter_mut().enumerate().find(|(_, f)| f.consumer.stream == origin.stream);
        let Some((index, feed)) = found else { return Err(None) };
        feed.heard = now;
        feed.requested = feed.requested.saturating_sub(1);
        let sequence = origin.stream_sequence;
        let repeated = feed.note(&origin).unwrap_or(false);
        let alone = !feed.consumer.grouped;
        let epoch = feed.epoch;
        let (attempt, published_at) = (origin.delivered.max(1), origin.published_at);
        let Some(reply) = message.reply.clone() else { return Err(None) };
        let ack = |reply| Err(Some((reply, Bytes::from_static(ACK))));
        let Some((topic, raw)) = self.topic_of(&message.subject) else {
            tracing::warn!(subject = %message.subject, "passed over: the subject is no topic");
            self.desk.passed_over();
            return ack(reply);
        };
        if self.is_before_start(&topic, sequence) {
            self.desk.passed_over();
            return ack(reply);
        }
        let content = if raw {
            let key_header = &self.connection.config.raw_key_header;
            Content::Raw(Box::new(raw::read(&message, key_header)))
        } else {
            Content::Encoded(message.payload)
        };
        let key = self.key_of(&topic, &content);
        Ok(Arrival {
            consumer: index,
            epoch,
            sequence,
            reply,
            topic,
            content,
            attempt,
            published_at,
            key,
            repeated,
            alone,
            unreadable: false,
        })
    }

    /// What keeps the message in its place, if something does.
    pub(crate) fn key_of(&self, topic: &Topic, content: &Content) -> Option<u64> {
        self.desk.per_key.then(|| key_of(topic, content)).flatten()
    }

    /// Whether an explicit start leaves a message out.
    pub(crate) fn is_before_start(&self, topic: &Topic, sequence: u64) -> bool {
        self.first.get(topic).is_some_and(|first| sequence < *first)
    }

    /// The topic of a subject, and whether it is raw.
    pub(crate) fn topic_of(&mut self, subject: &str) -> Option<(Topic, bool)> {
        if let Some(known) = self.topics.get(subject) {
            return Some(known.clone());
        }
        let topic = name::topic(&self.connection.config.prefix, subject)?;
        if self.topics.len() >= TOPICS {
            self.topics.clear();
        }
        let raw = self.raw.matches(&topic);
        self.topics.insert(subject.to_owned(), (topic.clone(), raw));
        Some((topic, raw))
    }

    fn forget_requests(&mut self) {
        for feed in &mut self.feeds {
            feed.requested = 0;
            feed.heard = Instant::now();
        }
        let kept = self.feeds.iter().map(|feed| feed.recall.kept()).sum();
        self.desk.lock().requested = kept;
    }

    /// The server forbids something: is it ours?
    fn forbidden(&self, violation: Violation) {
        let ours = |feed: &Feed| {
            let consumer = &feed.consumer;
            let (stream, name) = (&consumer.stream, &consumer.config.name);
            violation.subject == self.connection.api(&consumer.next_call())
                || violation.is_ack_of(stream, name)
        };
        let publish = violation.publish && self.feeds.iter().any(ours);
        let inbox = !violation.publish && violation.subject.starts_with(&self.inbox);
        if publish || inbox {
            self.desk.fail(violation.into_error());
        }
    }
}

fn key_of(topic: &Topic, content: &Content) -> Option<u64> {
    match content {
        Content::Raw(message) => {
            let key = str::from_utf8(message.key.as_ref()?).ok()?;
            Some(Gate::key(topic, key))
        }
        Content::Encoded(payload) => {
            let envelope = Envelope::from_bytes(payload.clone()).ok()?;
            envelope.aggregate_id().map(|key| Gate::key(topic, key))
        }
        _ => None,
    }
}
