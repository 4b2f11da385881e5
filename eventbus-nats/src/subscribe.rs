//! Opening sources.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
};

use eventbus_core::{
    Error, ErrorKind, Start, SubscribeOptions, SubscriptionHealth, Topic, TopicFilter,
    backend::{Incoming, Settler, Source, SourceError},
};

use crate::{
    NatsTransport,
    consumer::{Consumer, StartAt},
    desk::Desk,
    error,
    feed::Feed,
    name,
    pull::Puller,
    tending::truncated,
};

/// A stream of messages from one pull consumer per stream that the filter reaches.
#[derive(Debug)]
pub struct NatsSource {
    desk: Arc<Desk>,
}

impl Source for NatsSource {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Incoming, SourceError>>> {
        self.desk.poll_next(cx)
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.desk.clone()
    }

    fn stop(&mut self) {
        self.desk.stop();
    }

    fn health(&self, health: &mut SubscriptionHealth) {
        self.desk.fill(health);
    }
}

impl Drop for NatsSource {
    fn drop(&mut self) {
        self.desk.stop();
    }
}

impl NatsTransport {
    pub(crate) async fn open_source(
        &self,
        filter: &TopicFilter,
        options: &SubscribeOptions,
    ) -> Result<NatsSource, Error> {
        let name = consumer_name(filter, options)?;
        let parts = self.streams.matching(filter);
        if parts.is_empty() {
            return Err(error::error(
                ErrorKind::TopicNotFound,
                "no stream of the configuration holds what this filter selects; add it to \
                 `streams`",
            )
            .with_context("filter", filter));
        }
        let desk = Desk::new(self.connection.clone(), options);
        let mut feeds = Vec::new();
        for (stream, parts) in parts {
            self.streams.provide(stream).await?;
            feeds.push(self.open_feed(&desk, &name, stream, &parts, options).await?);
        }
        let first = first_of_each(filter, options);
        let (streams, raw) = (self.streams.clone(), self.raw.clone());
        let puller = Puller::new(desk.clone(), streams, feeds, first, raw);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| !source.is_finished());
        sources.push(tokio::spawn(puller.run()));
        drop(sources);
        Ok(NatsSource { desk })
    }

    async fn open_feed(
        &self,
        desk: &Desk,
        name: &str,
        stream: usize,
        parts: &[TopicFilter],
        options: &SubscribeOptions,
    ) -> Result<Feed, Error> {
        let config = &self.connection.config;
        let mapping = config.streams.get(stream);
        let subjects =
            parts.iter().map(|part| name::subject(&config.prefix, part.as_str())).collect();
        let mut consumer = Consumer::new(mapping.name.clone(), name.to_owned(), subjects, options);
        let start = start(options, parts);
        consumer.start_at(start);
        let (info, existed) = consumer.provide(&self.connection).await?;
        let covers_stream = *parts == mapping.topics;
        let mut feed = Feed::new(consumer, stream, covers_stream, &info.delivered);
        // Members that share their work get what was lost after its `ack_wait`.
        feed.recall.on = desk.per_key || desk.cumulative || options.group.is_none();
        let wanted = match start {
            _ if existed => covers_stream.then_some(info.ack_floor.stream_seq + 1),
            StartAt::Sequence(sequence) => Some(sequence),
            _ => None,
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted > 1) {
            let first = self.streams.info(stream).await?.state.first_seq;
            if first > wanted {
                feed.last_seen = wanted - 1;
                desk.truncated(truncated(&feed, first));
            }
        }
        feed.last_seen = info.delivered.stream_seq;
        if desk.cumulative {
            // Whoever read before may have died, and the next acknowledgement covers what it had.
            feed.last_seen = info.ack_floor.stream_seq;
            feed.recall.begin_at(&info.ack_floor);
            feed.suspect = true;
        }
        Ok(feed)
    }
}

fn consumer_name(filter: &TopicFilter, options: &SubscribeOptions) -> Result<String, Error> {
    let Some(group) = &options.group else {
        return Ok(format!("eb-{}", uuid::Uuid::now_v7().simple()));
    };
    if !options.native_group {
        return Ok(name::durable(group, filter));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
    if group.len() > 255 || group.contains(bad) {
        return Err(error::error(
            ErrorKind::InvalidConfig,
            "the name of a NATS consumer has up to 255 characters without spaces, `.`, `*`, `>` \
             and slashes",
        )
        .with_context("group", format!("{group:?}")));
    }
    Ok(group.clone())
}

fn start(options: &SubscribeOptions, parts: &[TopicFilter]) -> StartAt {
    match options.effective_start() {
        Start::Latest => StartAt::New,
        Start::Time(time) => StartAt::Time(time),
        Start::Positions(positions) => {
            let only = parts.first().and_then(TopicFilter::as_topic).filter(|_| parts.len() == 1);
            let position =
                positions.iter().find(|position| only.as_ref() == Some(position.topic()));
            // Topics that are not named start with the earliest.
            position.map_or(StartAt::First, |position| StartAt::Sequence(position.offset()))
        }
        _ => StartAt::First,
    }
}

/// Where each named topic starts, when the consumer cannot start there.
fn first_of_each(filter: &TopicFilter, options: &SubscribeOptions) -> HashMap<Topic, u64> {
    match options.effective_start() {
        Start::Positions(positions) if filter.has_wildcards() => {
            positions.iter().map(|position| (position.topic().clone(), position.offset())).collect()
        }
        _ => HashMap::new(),
    }
}
