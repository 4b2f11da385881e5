//! A workload at work, and its end.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use eventbus_core::{
    Capabilities, EventBus, Ordering as DeliveryOrder, PublishFailure, SubscribeOptions, Topic,
    dead_letter,
};
use tokio::{sync::watch, task::JoinHandle};

use super::{
    History, Letter, MAX_ATTEMPTS, Recorder, Value, Workload,
    marks::read_whole,
    member::{Group, Member},
    writer::Writer,
};
use crate::{Context, Failure, PATIENCE, Result, within};

const POLL: Duration = Duration::from_millis(2);
/// How long writers may take to end: each waits for its last verdicts.
const END: Duration = Duration::from_secs(60);
/// So many times [`Workload::drain`], and the group stays behind although it goes on.
const DRAINS: u32 = 4;

/// A workload that is running. Dropped without [`finish`](Self::finish), it is aborted.
pub struct Running {
    context: Context,
    workload: Workload,
    topic: Topic,
    dead: Topic,
    publisher: Arc<dyn EventBus>,
    group: Group,
    per_key: bool,
    members: Vec<Member>,
    stop: watch::Sender<bool>,
    writers: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Connects, subscribes the group and starts the writers.
    ///
    /// # Errors
    /// When connecting or subscribing fails, or the bus cannot do what the mode asks for.
    pub async fn start(&self, context: &Context) -> Result<Running> {
        let recorder = Recorder::default();
        let handler = recorder.clone();
        let publisher = context
            .bus_with(|request| {
                request.config.ack_timeout = self.ack_timeout;
                request.config.retry_max_elapsed = self.retry_max_elapsed;
                request.on_failure = Some(Arc::new(move |failure| handle(&handler, &failure)));
            })
            .await?;
        if !self.mode.is_for(&publisher.capabilities()) {
            return Err(Failure::new(format!("the bus has no mode {}", self.mode.as_str())));
        }
        let (topic, dead) = (context.topic("workload")?, context.topic("dead")?);
        publisher.ensure_topic(&topic).await?;
        publisher.ensure_topic(&dead).await?;
        let bus = context.bus().await?;
        let group = Group {
            filter: topic.filter(),
            options: self.options(context, &dead),
            poison: self.poison,
            recorder,
            work: Arc::default(),
            bus,
        };
        let per_key =
            self.per_key && (self.members <= 1 || publisher.capabilities().per_key_across_group);
        let (stop, _) = watch::channel(false);
        let mut running = Running {
            context: context.clone(),
            workload: self.clone(),
            topic,
            dead,
            publisher,
            group,
            per_key,
            members: Vec::new(),
            stop,
            writers: Vec::new(),
        };
        for _ in 0..self.members {
            running.members.push(Member::join(&running.group).await?);
        }
        running.writers = (0..self.writers).map(|number| running.write(number)).collect();
        Ok(running)
    }

    fn options(&self, context: &Context, dead: &Topic) -> SubscribeOptions {
        let options = context.group("workers").ack_wait(self.ack_wait).max_in_flight(256);
        let options = match self.poison {
            Some(_) => options.max_attempts(MAX_ATTEMPTS).dead_letter(dead.clone()),
            None => options,
        };
        match self.per_key {
            true => options.ordering(DeliveryOrder::PerKey),
            false => options,
        }
    }
}

fn handle(recorder: &Recorder, failure: &PublishFailure) {
    // What is no value of the workload was not published by it.
    let value = Value::of(&failure.envelope()).unwrap_or(Value::mark(0));
    recorder.handled(value, failure.error());
}

impl Running {
    fn write(&self, number: u32) -> JoinHandle<()> {
        let writer = Writer {
            bus: self.publisher.clone(),
            topic: self.topic.clone(),
            recorder: self.group.recorder.clone(),
            number,
            next: 0,
            workload: self.workload.clone(),
            pending: VecDeque::new(),
        };
        tokio::spawn(writer.run(self.stop.subscribe()))
    }

    /// What the backend promises.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.publisher.capabilities()
    }

    /// The bus that the writers share.
    #[must_use]
    pub fn publisher(&self) -> &Arc<dyn EventBus> {
        &self.publisher
    }

    /// Where the values go.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// How members join the group, for members that the workload does not run itself.
    #[must_use]
    pub fn group(&self) -> &SubscribeOptions {
        &self.group.options
    }

    /// Where those write down what they see.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.group.recorder
    }

    /// A member joins that the workload does not run itself.
    pub fn joined_by_another(&mut self) {
        self.per_key &= self.capabilities().per_key_across_group;
    }

    /// How many values are acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.publisher.stats().acknowledged
    }

    /// Waits until so many more values are acknowledged, and gives the time that it took.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When that does not happen within [`PATIENCE`].
    pub async fn flows(&self, more: u64) -> Result<Duration> {
        let (started, goal) = (Instant::now(), self.acknowledged() + more);
        while self.acknowledged() < goal {
            if started.elapsed() > PATIENCE {
                let missing = goal - self.acknowledged();
                let health = self.publisher.health().await;
                return Err(Failure::new(format!(
                    "{missing} of {more} acknowledgements did not come within {PATIENCE:?}: \
                     {:?}, {health:?}, {:?}",
                    self.publisher.stats(),
                    self.group.recorder.errors()
                )));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(started.elapsed())
    }

    /// Another member joins the group.
    ///
    /// # Errors
    /// When subscribing fails.
    pub async fn join(&mut self) -> Result {
        self.members.push(Member::join(&self.group).await?);
        self.per_key &= self.capabilities().per_key_across_group || self.members.len() == 1;
        Ok(())
    }

    /// The member that has been in the group for longest leaves it, in order.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub async fn leave(&mut self) -> Result {
        match self.members.is_empty() {
            true => Ok(()),
            false => self.members.remove(0).leave().await,
        }
    }

    /// From now on each delivery takes the members this long, in whole milliseconds.
    pub fn work(&self, each: Duration) {
        let millis = u64::try_from(each.as_millis()).unwrap_or(u64::MAX);
        self.group.work.store(millis, Ordering::Relaxed);
    }

    /// Stops the writers, waits until the group has settled all that was acknowledged or gets
    /// nothing new for [`Workload::drain`], and reads all that is stored.
    ///
    /// # Errors
    /// When something does not come to its end at all: a writer without a verdict, a close, a
    /// member that does not leave, a topic that cannot be read.
    pub async fn finish(mut self) -> Result<History> {
        self.end_publishing().await?;
        let notes: Vec<String> = self.drain().await.into_iter().collect();
        for member in self.members.drain(..) {
            member.leave().await?;
        }
        within("the close of the reading bus", self.group.bus.close()).await??;
        let mut history = self.group.recorder.history();
        history.notes = notes;
        history.counts = self.publisher.stats().into();
        history.max_attempts = self.workload.poison.map(|_| MAX_ATTEMPTS);
        history.per_key = self.per_key;
        history.topic = Some(self.topic.clone());
        let reader = self.context.bus().await?;
        let keys = self.workload.keys;
        let stored = read_whole(&reader, &self.topic, keys).await?;
        history.stored =
            stored.into_iter().map(|(message, at)| (message.map(|(value, _)| value), at)).collect();
        if self.workload.poison.is_some() {
            let letters = read_whole(&reader, &self.dead, keys).await?;
            history.letters = letters.into_iter().map(|(message, _)| letter(message)).collect();
        }
        within("the close of the last reader", reader.close()).await??;
        Ok(history)
    }

    async fn end_publishing(&mut self) -> Result {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + END;
        for writer in &mut self.writers {
            let ended = tokio::time::timeout_at(deadline, writer).await;
            let health = self.publisher.health();
            match ended {
                Ok(ended) => ended?,
                Err(_) => {
                    let (stats, health) = (self.publisher.stats(), health.await);
                    let why = format!("a writer got no verdict in {END:?}: {stats:?}, {health:?}");
                    return Err(Failure::new(why));
                }
            }
        }
        self.writers.clear();
        let deadline = Instant::now() + END;
        while self.publisher.stats().in_flight > 0 && Instant::now() < deadline {
            // It times out while the engine retries.
            let _ = self.publisher.flush().await;
        }
        within("the close of the publishing bus", self.publisher.close()).await??;
        Ok(())
    }

    /// What has not come by the end is for the checker to find; how the group is doing then.
    async fn drain(&self) -> Option<String> {
        self.work(Duration::ZERO);
        let recorder = &self.group.recorder;
        let mut missing = recorder.undelivered();
        let started = Instant::now();
        let (mut progress, mut since) = (recorder.progress(), started);
        loop {
            while missing.last().is_some_and(|value| recorder.is_delivered(value)) {
                missing.pop();
            }
            if missing.is_empty() && recorder.open() == 0 {
                return None;
            }
            let now = recorder.progress();
            if now > progress {
                (progress, since) = (now, Instant::now());
            } else if since.elapsed() > self.workload.drain {
                break;
            }
            if started.elapsed() > self.workload.drain * DRAINS {
                // It never ends: what is dead-lettered comes again, for example.
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Some(format!("the group is not done: {:?}", self.group.bus.health().await))
    }
}

fn letter(message: Option<(Value, eventbus_core::Envelope)>) -> Letter {
    let Some((value, envelope)) = message else { return Letter::new(None, 0) };
    let attempts = envelope.headers().get(dead_letter::ATTEMPTS);
    let attempts = attempts.and_then(|text| text.parse().ok()).unwrap_or_default();
    Letter::new(Some(value), attempts)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for writer in &self.writers {
            writer.abort();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("workload", &self.workload)
            .field("topic", &self.topic)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}
