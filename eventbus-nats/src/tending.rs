//! Looking after the consumers of a source: those that are silent, and those that are gone.

use std::time::Instant;

use eventbus_core::{Error, ErrorKind};

use crate::{error, feed::Feed, pull::Puller};

/// So often must a consumer be missing to count as gone: a server that has just started may
/// not know all of them yet.
const MISSING: u32 = 4;

impl Puller {
    /// Looks after consumers that are silent or may not exist any more.
    pub(crate) async fn check_feeds(&mut self) {
        for index in 0..self.feeds.len() {
            let feed = &mut self.feeds[index];
            if feed.is_silent() {
                tracing::warn!(
                    consumer = %feed.consumer.config.name,
                    stream = %feed.consumer.stream,
                    "the server has been silent about a pull request; asking for its consumer",
                );
                let requested = std::mem::take(&mut feed.requested);
                let mut state = self.desk.lock();
                state.requested = state.requested.saturating_sub(requested);
                state.problem = Some("the server is silent about pull requests".to_owned());
                feed.suspect = true;
            }
            let now = Instant::now();
            let unknown = feed.suspect && feed.found.is_none();
            let due = unknown && feed.paused_until.is_none_or(|until| until <= now);
            if due && let Err(error) = self.check_feed(index).await {
                self.trouble(index, error);
            }
        }
    }

    pub(crate) fn trouble(&mut self, index: usize, error: Error) {
        if error.is_temporary() {
            tracing::warn!(%error, "a consumer cannot be reached at the moment");
            self.desk.set_problem(Some(error.to_string()));
            self.feeds[index].pause();
        } else {
            self.desk.fail(error);
        }
    }

    async fn check_feed(&mut self, index: usize) -> Result<(), Error> {
        let feed = &mut self.feeds[index];
        if let Some(info) = feed.consumer.find(&self.connection).await? {
            feed.missing = 0;
            feed.suspect = feed.recall.on;
            feed.found = feed.recall.on.then_some(info);
            self.desk.set_problem(None);
            return Ok(());
        }
        feed.missing += 1;
        if feed.missing < MISSING {
            feed.pause();
            return Ok(());
        }
        let info = self.streams.info(feed.stream).await.map_err(Error::from)?;
        if feed.consumer.grouped {
            return Err(error::error(
                ErrorKind::Rejected,
                "the consumer of the group was deleted at the server, and with it the group's \
                 position; subscribe again to start it anew",
            )
            .with_context("consumer", &feed.consumer.config.name));
        }
        self.recreate(index, info.state.first_seq).await
    }

    /// Makes the consumer of a subscription without a group anew, at the lowest sequence that
    /// is not settled.
    async fn recreate(&mut self, index: usize, first: u64) -> Result<(), Error> {
        let feed = &mut self.feeds[index];
        let mut consumer = feed.consumer.clone();
        consumer.config.name = format!("eb-{}", uuid::Uuid::now_v7().simple());
        consumer.start_at(feed.resume_at(self.desk.lowest_unsettled(index)));
        let (info, _) = consumer.provide(&self.connection).await?;
        tracing::warn!(stream = %consumer.stream, "a lost consumer was made anew");
        if feed.covers_stream && first > feed.last_seen + 1 {
            self.desk.truncated(truncated(feed, first));
        }
        feed.unreadable.restart(|sequence| feed.recall.keeps(sequence));
        let kept = feed.recall.restart(&info.delivered);
        let mut state = self.desk.lock();
        state.requested = state.requested.saturating_sub(kept);
        drop(state);
        feed.consumer = consumer;
        feed.epoch += 1;
        feed.suspect = false;
        feed.missing = 0;
        self.desk.set_problem(None);
        Ok(())
    }
}

pub(crate) fn truncated(feed: &Feed, first: u64) -> Error {
    error::error(
        ErrorKind::Truncated,
        "retention removed messages before this subscription had them; it goes on behind the gap",
    )
    .with_context("stream", &feed.consumer.stream)
    .with_context("missing", format!("{}..{}", feed.last_seen + 1, first))
}
