//! The thread of a subscription.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use eventbus_core::{Error, ErrorKind, RawTopics, Start, TopicFilter, backend::SourceError};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use tokio::sync::oneshot;

use super::{
    Assigner, Consumer, Phase, Shared,
    assigner::{From, Place, Queue},
    committer::Committer,
    discovery,
    fetch::{Fault, Fetcher},
    offsets::Progress,
    start::Asking,
    watch::{LOOK, Standing, Watch},
};
use crate::error::{self, error};

/// How long the thread sleeps at most: librdkafka wants to be asked.
const TICK: Duration = Duration::from_millis(500);
/// How often a reader without a group looks for new topics and partitions.
const DISCOVERY: Duration = Duration::from_secs(5);
/// How long opening waits for the group to assign partitions. The start is fixed before.
const ASSIGNMENT: Duration = Duration::from_secs(5);
/// How long the last commit may take.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// What a thread needs to start.
pub(crate) struct Opening {
    pub(crate) config: ClientConfig,
    pub(crate) filter: TopicFilter,
    pub(crate) start: Start,
    /// Whether offsets are committed for a group.
    pub(crate) in_group: bool,
    pub(crate) per_key: bool,
    pub(crate) raw: RawTopics,
    pub(crate) ack_wait: Duration,
    pub(crate) commit_interval: Duration,
    /// How long opening may take.
    pub(crate) timeout: Duration,
    /// Told when the start is fixed, or why it cannot be.
    pub(crate) opened: Option<oneshot::Sender<Result<(), Error>>>,
}

/// Reads until the source has ended and what was handed out is settled.
pub(crate) fn read(mut opening: Opening, shared: &Arc<Shared>) {
    let opened = opening.opened.take();
    let consumer = match open(&opening.config, shared) {
        Ok(consumer) => consumer,
        Err(error) => {
            shared.desk().end();
            tell(opened, Err(error));
            return;
        }
    };
    let mut reader = Reader::new(&opening, shared, &consumer);
    match reader.begin() {
        Ok(()) => reader.run(opened),
        Err(error) => tell(opened, Err(error)),
    }
    let committer = reader.committer;
    finish(consumer, shared, committer);
}

fn tell(opened: Option<oneshot::Sender<Result<(), Error>>>, result: Result<(), Error>) {
    if let Some(opened) = opened {
        let _ = opened.send(result);
    }
}

fn open(config: &ClientConfig, shared: &Arc<Shared>) -> Result<Arc<Consumer>, Error> {
    let made = config.create_with_context(Assigner::new(shared.clone()));
    let mut consumer: Consumer = made.map_err(|kafka| error::from_kafka(&kafka))?;
    let signal = shared.signal.clone();
    consumer.set_nonempty_callback(move || signal.notify());
    let consumer = Arc::new(consumer);
    consumer.context().attach(&consumer);
    Ok(consumer)
}

/// Takes the consumer apart: that blocks.
fn finish(consumer: Arc<Consumer>, shared: &Shared, committer: Option<Committer>) {
    shared.desk().stop();
    let deadline = Instant::now() + LAST_COMMIT;
    let in_group = committer.is_some();
    if committer.is_some_and(|committer| !committer.finish(shared, deadline)) {
        tracing::warn!("what was settled last could not be committed; it will be delivered again");
    }
    consumer.context().end();
    // librdkafka 2.12 closes a member of a cooperative group that has no partitions without a word
    // to the group, which then waits for its session to end whenever it shares them out.
    if in_group && consumer.assignment().is_ok_and(|assigned| assigned.count() == 0) {
        consumer.unsubscribe();
    }
    drop(consumer);
    // Not before: nobody is told that the end has come while the group still has this member.
    shared.desk().end();
}

/// Serves librdkafka's events; messages do not come this way, except by mistake.
fn serve(consumer: &Consumer, wait: Duration) -> Option<KafkaError> {
    let assigner = consumer.context();
    let mut wait = wait;
    loop {
        let before = assigner.events();
        match consumer.poll(wait) {
            Some(Err(kafka)) => return Some(kafka),
            Some(Ok(stray)) => {
                let (topic, partition, offset) = (stray.topic(), stray.partition(), stray.offset());
                tracing::error!(topic, partition, offset, "a message came outside of its queue");
                let _ = assigner.restart(topic, partition, Offset::Offset(offset));
            }
            None if assigner.events() == before => return None,
            None => {}
        }
        wait = Duration::ZERO;
    }
}

struct Reader<'a> {
    opening: &'a Opening,
    shared: &'a Arc<Shared>,
    consumer: &'a Arc<Consumer>,
    fetcher: Fetcher,
    /// `None` without a group.
    committer: Option<Committer>,
    /// Faults to be repaired, tried again while the broker cannot say how.
    faults: Vec<Fault>,
    watch: Watch,
    next_look: Instant,
    next_commit: Instant,
    next_sweep: Instant,
    next_discovery: Instant,
    /// Whether the group will assign something.
    awaits_assignment: bool,
}

impl<'a> Reader<'a> {
    fn new(opening: &'a Opening, shared: &'a Arc<Shared>, consumer: &'a Arc<Consumer>) -> Self {
        let now = Instant::now();
        Self {
            opening,
            shared,
            consumer,
            fetcher: Fetcher::new(opening.per_key, opening.raw.clone()),
            committer: None,
            faults: Vec::new(),
            watch: Watch::default(),
            next_look: now + LOOK,
            next_commit: now,
            next_sweep: now,
            next_discovery: now + DISCOVERY,
            awaits_assignment: false,
        }
    }

    /// Fixes the start, and begins.
    fn begin(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.opening.timeout;
        let asking = Asking { consumer: self.consumer, shared: self.shared, deadline };
        let all = asking.partitions(&self.opening.filter)?;
        if all.is_empty() && !self.opening.filter.has_wildcards() {
            let message = "the topic does not exist; create it, or set `provision=create`";
            return Err(error(ErrorKind::TopicNotFound, message)
                .with_context("topic", &self.opening.filter));
        }
        if self.opening.in_group {
            asking.fix_group(&all, &self.opening.start)?;
            self.awaits_assignment = !all.is_empty();
            let committer = Committer::start(self.consumer, self.shared).map_err(|io| {
                error(ErrorKind::Unexpected, "no thread can be started").with_source(io)
            })?;
            self.committer = Some(committer);
            let pattern = discovery::pattern(&self.opening.filter);
            self.consumer.subscribe(&[&pattern])
        } else {
            let places = asking.places(&all, &self.opening.start)?;
            self.consumer.context().start(places)
        }
        .map_err(|kafka| error::from_kafka(&kafka))
    }

    fn run(&mut self, opened: Option<oneshot::Sender<Result<(), Error>>>) {
        let mut opened = opened;
        let opened_by = Instant::now() + ASSIGNMENT;
        loop {
            let failure = self.serve();
            if opened.is_some() {
                let ready = !self.awaits_assignment
                    || self.consumer.context().is_assigned()
                    || Instant::now() >= opened_by;
                match failure {
                    Some(error) => return tell(opened, Err(error)),
                    None if ready => tell(opened.take(), Ok(())),
                    None => {}
                }
            } else if let Some(error) = failure {
                self.shared.desk().fail(error);
            }
            let (next, ended) = self.turn();
            if ended {
                return;
            }
            if let Some(until) = next {
                let until = if opened.is_some() { until.min(opened_by) } else { until };
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Serves librdkafka; the error after which nothing can go on.
    fn serve(&self) -> Option<Error> {
        while let Some(kafka) = serve(self.consumer, Duration::ZERO) {
            let Some(code) = kafka.rdkafka_error_code() else { continue };
            if matches!(kafka, KafkaError::MessageConsumptionFatal(_)) {
                return Some(error::from_kafka(&kafka));
            }
            tracing::debug!(%kafka, "the consumer reports trouble");
            let of_group = code == Code::GroupAuthorizationFailed;
            if error::is_final(code) && (self.opening.in_group || !of_group) {
                return Some(error::from_code(code));
            }
        }
        None
    }

    /// One round: fetch, hand over, commit. When to do the next if there is nothing to do now,
    /// and whether this was the last.
    fn turn(&mut self) -> (Option<Instant>, bool) {
        let now = Instant::now();
        if now >= self.next_sweep {
            self.sweep();
            self.next_sweep = now + TICK.min(self.opening.ack_wait);
        }
        let room = self.shared.desk().room();
        if room > 0 {
            self.fetcher.fetch(self.consumer.context(), room);
        }
        let busy = !self.fetcher.fetched.is_empty();
        let (mut next, dirty, urgent, ended) = {
            let mut desk = self.shared.desk();
            desk.push(&mut self.fetcher.fetched);
            let next = desk.tick(now).unwrap_or(self.next_sweep).min(self.next_sweep);
            let partitions = &desk.partitions;
            let ended = desk.is_drained() || desk.phase == Phase::Closed;
            (next, partitions.is_dirty(), partitions.is_urgent(), ended)
        };
        if let Some(committer) = self.committer.as_ref().filter(|c| dirty && !c.is_busy()) {
            if urgent || now >= self.next_commit {
                committer.commit(self.shared);
                self.next_commit = now + self.opening.commit_interval;
            } else {
                next = next.min(self.next_commit);
            }
        }
        self.repair();
        if now >= self.next_look {
            self.look();
            self.next_look = Instant::now() + LOOK;
        }
        if !self.opening.in_group && now >= self.next_discovery {
            self.discover();
            self.next_discovery = Instant::now() + DISCOVERY;
        }
        ((!busy).then_some(next), ended)
    }

    /// Looks into every queue, should a signal have been lost.
    fn sweep(&self) {
        for queue in self.consumer.context().queues().iter() {
            queue.filled.store(true, Ordering::Release);
        }
    }

    /// Begins partitions anew whose fetching stands still.
    fn look(&mut self) {
        let queues: Vec<_> = {
            let queues = self.consumer.context().queues();
            let seen = |queue: &Queue| {
                let place = (queue.topic.clone(), queue.number);
                (place, queue.id, queue.start, queue.at_end.get())
            };
            queues.iter().map(seen).collect()
        };
        let standings = {
            let mut desk = self.shared.desk();
            if desk.room() == 0 {
                drop(desk);
                return self.watch.forget();
            }
            let standing = |((topic, number), id, start, at_end)| {
                let next = desk.partitions.next(id);
                Standing { topic, number, next, start, at_end }
            };
            queues.into_iter().map(standing).collect()
        };
        let still = self.watch.look(standings);
        let Some(ends) = self.ends(&still) else { return };
        for Standing { topic, number, next, start, .. } in still {
            let Some(Offset::Offset(end)) =
                ends.find_partition(topic.as_str(), number).map(|element| element.offset())
            else {
                continue;
            };
            if self.watch.is_stuck(&topic, number, end) {
                tracing::info!(%topic, number, next, end, "nothing came; fetching begins anew");
                let from = next.map_or(start, Offset::Offset);
                let _ = self.consumer.context().restart(topic.as_str(), number, from);
            }
        }
    }

    /// Up to where brokers have messages of these partitions; `None` if they do not say.
    fn ends(&self, of: &[Standing]) -> Option<TopicPartitionList> {
        if of.is_empty() {
            return None;
        }
        let mut list = TopicPartitionList::with_capacity(of.len());
        for Standing { topic, number, .. } in of {
            list.add_partition_offset(topic.as_str(), *number, Offset::End).ok()?;
        }
        self.consumer.offsets_for_times(list, TICK).ok()
    }

    fn repair(&mut self) {
        self.faults.append(&mut self.fetcher.faults);
        for fault in std::mem::take(&mut self.faults) {
            match fault.code {
                Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset => {
                    if !self.skip_gap(&fault) {
                        self.faults.push(fault);
                    }
                }
                code if error::is_final(code) => {
                    let error = error::from_code(code).with_context("topic", &fault.topic);
                    self.shared.desk().fail(error);
                }
                code => {
                    tracing::debug!(topic = %fault.topic, %code, "a partition reports trouble");
                    self.shared.trouble.note(code, &format!("{}: {code}", fault.topic));
                }
            }
        }
    }

    /// What was to be read next is not there any more: goes on behind the gap and tells the
    /// reader. False while the broker cannot say where that is.
    fn skip_gap(&self, fault: &Fault) -> bool {
        let (topic, number) = (fault.topic.as_str(), fault.number);
        let Some(id) = self.shared.desk().partitions.find(topic, number) else { return true };
        let watermarks = self.consumer.fetch_watermarks(topic, number, TICK);
        let Ok((low, high)) = watermarks else { return false };
        let expected = self.shared.desk().partitions.next(id);
        let (to, missed) = match expected {
            // Never read: from the beginning, wherever that is by now.
            None => (Offset::Beginning, None),
            Some(next) if (low..=high).contains(&next) => (Offset::Offset(next), None),
            Some(next) => (Offset::Offset(low), Some(next)),
        };
        if let Err(kafka) = self.consumer.context().restart(topic, number, to) {
            tracing::warn!(%kafka, topic, number, "reading cannot go on yet");
            return false;
        }
        if let Some(next) = missed {
            let message = "retention removed messages before they were read; read faster, or keep \
                           messages longer";
            let error = error(ErrorKind::Truncated, message)
                .with_context("topic", topic)
                .with_context("partition", number)
                .with_context("expected", next)
                .with_context("oldest", low);
            let mut desk = self.shared.desk();
            desk.restart_at(id, low);
            desk.failures.push_back(SourceError::Truncated(error));
            desk.wake_reader();
        }
        true
    }

    /// Starts to read topics and partitions that are new, from their beginning.
    fn discover(&self) {
        let Ok(all) = discovery::partitions(self.consumer, &self.opening.filter, TICK) else {
            return;
        };
        let places: Vec<Place> = {
            let desk = self.shared.desk();
            let new = all
                .into_iter()
                .filter(|(topic, number)| desk.partitions.find(topic.as_str(), *number).is_none());
            let place = |(topic, number)| Place {
                topic,
                number,
                from: From::Beginning,
                progress: Progress::default(),
            };
            new.map(place).collect()
        };
        if !places.is_empty()
            && let Err(kafka) = self.consumer.context().start(places)
        {
            tracing::error!(%kafka, "new partitions cannot be read");
        }
    }
}
