//! Deliveries that were lost on their way.
//!
//! What the server had sent over a connection that is lost counts there as delivered. It comes
//! again after its `ack_wait`, when what is newer has long been here. So after a loss the server is
//! asked how far it delivered before it is asked for more, and gets back what did not come: that
//! it then sends first. What else comes until then, for requests of the old connection, is kept.

use std::{
    collections::{BTreeMap, HashSet},
    ops::RangeInclusive,
    time::{Duration, Instant, SystemTime},
};

use async_nats::Subject;
use eventbus_core::Error;

use crate::{
    api::PATIENCE,
    arrivals::Arrival,
    consumer::{ConsumerInfo, Sequences},
    delivered::Origin,
    desk::nack,
    error,
    feed::Feed,
    pull::Puller,
    rescue::ack_subject,
    words::{Words, say_and_wait},
};

/// How many messages are given back after one loss, the lowest ones; the others come after their
/// `ack_wait`.
const MOST: u64 = 1 << 17;
/// So many deliveries in a row without one for another member, and there is none.
const ALONE: u32 = 256;
/// How much longer than its `ack_wait` a server may take to deliver again.
const SLACK: Duration = Duration::from_secs(1);

/// What is known about the deliveries of one consumer.
#[derive(Default)]
pub(crate) struct Recall {
    /// Older messages must come before newer ones, also those that were lost on their way.
    pub(crate) on: bool,
    /// Of the consumer's own count, what is accounted for.
    counted: u64,
    /// How many came that are not.
    came: u64,
    /// How many are missing at most.
    missing: u64,
    /// Counts down from the last delivery that another member had.
    others: u32,
    waits: Option<Wait>,
    /// What came and must wait; nothing stands for what is not for the application.
    kept: BTreeMap<u64, Option<Arrival>>,
    /// What may have been lost, or settled.
    unknown: Option<RangeInclusive<u64>>,
}

/// What is waited for.
struct Wait {
    /// All up to this sequence had been delivered.
    upto: u64,
    /// The consumer's own count when what was missing had been given back.
    newest: u64,
    /// Something newer was delivered for the first time, so that nothing is missing any more.
    passed: bool,
    until: Instant,
}

impl Recall {
    pub(crate) fn new(delivered: &Sequences) -> Self {
        Self { counted: delivered.consumer_seq, ..Self::default() }
    }

    /// What was delivered from here on is missing.
    pub(crate) fn begin_at(&mut self, delivered: &Sequences) {
        self.counted = delivered.consumer_seq;
    }

    /// So many are missing of what was delivered.
    fn wait(&mut self, missing: u64, delivered: &Sequences, newest: u64, until: Instant) {
        (self.missing, self.counted, self.came) = (missing, delivered.consumer_seq, 0);
        let upto = delivered.stream_seq;
        self.waits = Some(Wait { upto, newest, passed: false, until });
    }

    /// How many messages are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.values().flatten().count()
    }

    /// What is to be said when nobody will get what is kept.
    pub(crate) fn give_up(&mut self) -> Words {
        let kept = std::mem::take(&mut self.kept).into_values().flatten();
        kept.map(|arrival| (arrival.reply, nack(Duration::ZERO))).collect()
    }

    /// Whether a message is kept.
    pub(crate) fn keeps(&self, sequence: u64) -> bool {
        self.kept.contains_key(&sequence)
    }

    /// The consumer was made anew, and delivers again what is kept. Gives how much that was.
    pub(crate) fn restart(&mut self, delivered: &Sequences) -> usize {
        let (on, unknown) = (self.on, self.unknown.take());
        let before = std::mem::replace(self, Self { on, unknown, ..Self::new(delivered) });
        before.kept()
    }
}

impl Feed {
    /// The connection was lost: the consumer must be looked at before anything is let in.
    pub(crate) fn lost_connection(&mut self) {
        self.suspect = true;
        self.found = None;
        self.recall.waits = None;
    }

    /// Notes a delivery. Says whether it is a repetition of one that was let in; `None` if it has to
    /// wait.
    pub(crate) fn note(&mut self, origin: &Origin<'_>) -> Option<bool> {
        let Recall { on, counted, came, others, waits, .. } = &mut self.recall;
        let count = origin.consumer_sequence;
        if *on && (self.suspect || waits.is_some()) {
            *came += u64::from(count > *counted);
            if origin.stream_sequence > self.last_seen {
                self.note_kept(origin);
                return None;
            }
        } else {
            *others = if count > *counted + 1 { ALONE } else { others.saturating_sub(1) };
            *counted = count.max(*counted);
        }
        let sequence = origin.stream_sequence;
        let unknown = self.recall.unknown.as_ref().is_some_and(|range| range.contains(&sequence));
        let repeated = sequence <= self.last_seen && !unknown;
        self.last_seen = self.last_seen.max(sequence);
        Some(repeated)
    }

    fn note_kept(&mut self, origin: &Origin<'_>) {
        let Recall { missing, waits, kept, .. } = &mut self.recall;
        let sequence = origin.stream_sequence;
        if let Some(wait) = waits {
            let first = origin.delivered <= 1 && sequence > wait.upto;
            wait.passed |= first && origin.consumer_sequence > wait.newest;
            if sequence <= wait.upto && !kept.contains_key(&sequence) {
                *missing = missing.saturating_sub(1);
            }
        }
        kept.entry(sequence).or_default();
    }

    /// Keeps a message that was fetched, if older ones may be missing; else it is given back.
    pub(crate) fn keep(&mut self, arrival: Arrival) -> Option<Arrival> {
        if !self.recall.on || arrival.sequence <= self.last_seen {
            return Some(arrival);
        }
        self.recall.kept.insert(arrival.sequence, Some(arrival));
        None
    }

    /// What is missing, when the server has delivered so much: how many at most, and which
    /// sequences it may be. `here` is at the desk.
    fn missing(&self, delivered: &Sequences, here: &HashSet<u64>, most: u64) -> (u64, Vec<u64>) {
        let Recall { counted, came, missing, others, kept, .. } = &self.recall;
        let (first, last) = (self.last_seen + 1, delivered.stream_seq);
        let lost = delivered.consumer_seq.saturating_sub(*counted).saturating_sub(*came);
        let shared = self.consumer.may_be_shared() && (*others > 0 || lost > most);
        if shared || missing + lost == 0 || last < first {
            return (0, Vec::new());
        }
        let is_here = |sequence: &u64| kept.contains_key(sequence) || here.contains(sequence);
        let span = (last + 1 - first).saturating_sub(kept.range(first..=last).count() as u64);
        let only_here =
            |sequence: &&u64| (first..=last).contains(*sequence) && !kept.contains_key(*sequence);
        let at_desk = here.iter().filter(only_here).count();
        let count = (missing + lost).min(span).saturating_sub(at_desk as u64);
        let sequences = (first..=last).filter(|sequence| !is_here(sequence));
        (count, sequences.take(MOST as usize).collect())
    }

    /// Whether what is kept need not wait any more.
    fn is_recall_over(&self, now: Instant) -> bool {
        let Recall { waits, missing, .. } = &self.recall;
        waits.as_ref().is_some_and(|wait| {
            // Without a request nothing can come.
            let too_late = now >= wait.until && self.requested > 0;
            *missing == 0 || wait.passed || too_late
        })
    }

    /// Lets in what was kept, in its order.
    fn end_recall(&mut self) -> impl Iterator<Item = Arrival> {
        let Recall { kept, waits, missing, unknown, .. } = &mut self.recall;
        let kept = std::mem::take(kept);
        let missing = std::mem::take(missing);
        let (upto, passed) = waits.take().map_or((0, false), |wait| (wait.upto, wait.passed));
        if missing > 0 && !passed {
            let first = unknown.as_ref().map_or(self.last_seen + 1, |range| *range.start());
            *unknown = Some(first..=upto);
        }
        let highest = kept.last_key_value().map_or(upto, |(highest, _)| upto.max(*highest));
        self.last_seen = self.last_seen.max(highest);
        kept.into_values().flatten()
    }
}

impl Puller {
    /// Whether a consumer was found again.
    pub(crate) fn has_found(&self) -> bool {
        self.feeds.iter().any(|feed| feed.found.is_some())
    }

    /// Looks for what was lost on its way from the consumers that were found again.
    pub(crate) async fn recall_lost(&mut self) {
        for index in 0..self.feeds.len() {
            let Some(info) = self.feeds[index].found.take() else { continue };
            match self.recall(index, &info).await {
                Ok(()) => self.feeds[index].suspect = false,
                Err(error) => self.trouble(index, error),
            }
        }
    }

    /// Gives back to the server what it delivered and what did not come.
    async fn recall(&mut self, index: usize, info: &ConsumerInfo) -> Result<(), Error> {
        let mut here = self.desk.sequences_of(index);
        here.extend(self.feeds[index].unreadable.sequences());
        let most = self.desk.max_in_flight as u64;
        let feed = &self.feeds[index];
        let (missing, sequences) = feed.missing(&info.delivered, &here, most);
        let Recall { counted, came, others, .. } = feed.recall;
        tracing::debug!(
            delivered = ?info.delivered, last_seen = feed.last_seen, counted, came, others, missing,
            "what was delivered is compared with what came",
        );
        let (mut newest, mut patience) = (info.delivered.consumer_seq, PATIENCE);
        if missing > 0 {
            let (stream, consumer) = (&feed.consumer.stream, &feed.consumer.config.name);
            tracing::info!(%stream, %consumer, missing, "deliveries were lost on their way");
            let consumer = feed.consumer.clone();
            match self.give_back(index, &sequences, newest).await {
                Ok(()) if (sequences.len() as u64) < MOST => {
                    let info = consumer.find(&self.connection).await?;
                    newest = info.map_or(newest, |info| info.delivered.consumer_seq);
                }
                given_back => {
                    (newest, patience) = (u64::MAX, self.desk.ack_wait + SLACK);
                    tracing::warn!(error = ?given_back.err(), "they come after their `ack_wait`");
                }
            }
        }
        let until = Instant::now() + patience;
        self.feeds[index].recall.wait(missing, &info.delivered, newest, until);
        Ok(())
    }

    /// Makes the server deliver these again, in this order; resolves when it knows of all.
    async fn give_back(&self, index: usize, sequences: &[u64], count: u64) -> Result<(), Error> {
        let link = self.connection.link().ok_or_else(error::not_connected)?;
        let consumer = &self.feeds[index].consumer;
        let subject = |sequence: &u64| -> Subject {
            let (stream, name) = (&consumer.stream, &consumer.config.name);
            ack_subject(stream, name, 1, *sequence, count, SystemTime::UNIX_EPOCH)
        };
        let nack = nack(Duration::ZERO);
        let words = sequences.iter().map(|sequence| (subject(sequence), nack.clone())).collect();
        say_and_wait(&link.client, words, PATIENCE).await
    }

    /// Lets a message in that was noted, if it need not wait.
    pub(crate) fn let_in(&mut self, arrival: Arrival, arrivals: &mut Vec<Arrival>) {
        match self.feeds[arrival.consumer].recall.kept.get_mut(&arrival.sequence) {
            None => arrivals.push(arrival),
            Some(place) => {
                if place.replace(arrival).is_some() {
                    // One less comes to the desk.
                    self.desk.passed_over();
                }
            }
        }
    }

    /// Lets in what need not wait any more.
    pub(crate) fn end_recalls(&mut self, arrivals: &mut Vec<Arrival>) {
        let now = Instant::now();
        for feed in self.feeds.iter_mut().filter(|feed| feed.is_recall_over(now)) {
            arrivals.extend(feed.end_recall());
        }
    }
}

#[cfg(test)]
mod tests;
