//! One consumer of a source, as its task sees it.

use std::time::{Duration, Instant};

use async_nats::Message;

use crate::{
    consumer::{Consumer, ConsumerInfo, Sequences, StartAt},
    recall::Recall,
    rescue::Unreadable,
};

/// How long a pull request waits at the server.
pub(crate) const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that a pull request is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
/// The largest pull request.
const MOST: usize = 1 << 14;
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct Feed {
    pub(crate) consumer: Consumer,
    /// The stream, by its place in the configuration.
    pub(crate) stream: usize,
    /// The consumer delivers all that is in the stream, so that each gap is a loss.
    pub(crate) covers_stream: bool,
    /// Grows when the consumer is made anew.
    pub(crate) epoch: u32,
    /// The highest stream sequence that was delivered or passed over.
    pub(crate) last_seen: u64,
    /// Where it started, as long as nothing was delivered.
    pub(crate) requested: usize,
    /// When something came from the server last.
    pub(crate) heard: Instant,
    /// Nothing is pulled before.
    pub(crate) paused_until: Option<Instant>,
    /// It must be looked at whether the consumer still exists.
    pub(crate) suspect: bool,
    /// How often it was missing in a row.
    pub(crate) missing: u32,
    /// Its consumer exists; what was lost on its way from there is to be looked for.
    pub(crate) found: Option<ConsumerInfo>,
    pub(crate) recall: Recall,
    pub(crate) unreadable: Unreadable,
}

/// What a status message means for a feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The server is there.
    Alive,
    /// A pull request has ended with so many messages missing.
    Ended(usize),
    /// All pull requests are gone, for a reason that passes.
    Gone,
    /// It is not known what has become of the consumer.
    Suspect,
}

impl Feed {
    pub(crate) fn new(
        consumer: Consumer,
        stream: usize,
        covers_stream: bool,
        delivered: &Sequences,
    ) -> Self {
        Self {
            consumer,
            stream,
            covers_stream,
            epoch: 0,
            last_seen: delivered.stream_seq,
            requested: 0,
            heard: Instant::now(),
            paused_until: None,
            suspect: false,
            missing: 0,
            found: None,
            recall: Recall::new(delivered),
            unreadable: Unreadable::default(),
        }
    }

    /// How much to ask for, when `free` messages have room and `share` is the most for this
    /// feed.
    pub(crate) fn wanted(&self, free: usize, share: usize, now: Instant) -> usize {
        if self.suspect || self.paused_until.is_some_and(|until| until > now) {
            return 0;
        }
        let wanted = free.min(share.saturating_sub(self.requested)).min(MOST);
        let worth = wanted >= (share / 4).max(1) || self.requested == 0;
        if worth { wanted } else { 0 }
    }

    pub(crate) fn pause(&mut self) {
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.requested > 0 && self.heard.elapsed() > HEARTBEAT * 5 / 2
    }

    /// Where a new incarnation of the consumer must start, when `owed` is the lowest sequence
    /// that has to come again.
    pub(crate) fn resume_at(&self, owed: Option<u64>) -> StartAt {
        let next = self.last_seen + 1;
        StartAt::Sequence(owed.map_or(next, |owed| owed.min(next)))
    }
}

/// Reads a status message; `None` for a message of the stream.
pub(crate) fn status(message: &Message) -> Option<Status> {
    let code = message.status?.as_u16();
    let description = message.description.as_deref().unwrap_or_default().to_ascii_lowercase();
    let pending = || {
        let header = message.headers.as_ref()?.get("Nats-Pending-Messages")?;
        header.as_str().parse().ok()
    };
    Some(match code {
        100 => Status::Alive,
        404 | 408 => pending().map_or(Status::Gone, Status::Ended),
        409 if description.contains("deleted") || description.contains("push") => Status::Suspect,
        409 if description.contains("leadership") || description.contains("shutdown") => {
            Status::Suspect
        }
        409 => pending().map_or(Status::Gone, Status::Ended),
        503 => Status::Suspect,
        _ => Status::Alive,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventbus_core::SubscribeOptions;

    fn feed() -> Feed {
        let options = SubscribeOptions::new();
        let delivered = Sequences { stream_seq: 7, ..Sequences::default() };
        Feed::new(Consumer::new("S".into(), "c".into(), vec![], &options), 0, true, &delivered)
    }

    #[test]
    fn small_requests_are_not_worth_it() {
        let mut feed = feed();
        let now = Instant::now();
        assert_eq!(feed.wanted(1, 100, now), 1);
        feed.requested = 90;
        assert_eq!(feed.wanted(10, 100, now), 0);
        feed.requested = 70;
        assert_eq!(feed.wanted(30, 100, now), 30);
        assert_eq!(feed.wanted(5, 100, now), 0);
        feed.pause();
        assert_eq!(feed.wanted(30, 100, now), 0);
        assert_eq!(feed.wanted(30, 100, now + PAUSE * 2), 30);
    }

    #[test]
    fn a_new_incarnation_starts_at_the_lowest_that_is_owed() {
        assert_eq!(feed().resume_at(None), StartAt::Sequence(8));
        assert_eq!(feed().resume_at(Some(3)), StartAt::Sequence(3));
    }
}
