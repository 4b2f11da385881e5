//! One run: connect, load, close, and what came of it.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use eventbus_core::{
    Envelope, Error, ErrorKind, EventBus, EventBusExt, Start, Stats, SubscribeOptions, Topic,
    TopicFilter,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};

use crate::{
    Load, Mode, Report,
    consume::Reader,
    figures::Figures,
    latency::Latencies,
    process::{Monitor, Usage},
    publish::{Publisher, Sample, sample_channel, time_receipts},
    seen::Seen,
    stamp::{Messages, Origin},
    task::{Task, died},
};

/// Called with how many more messages are done.
pub(crate) type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// How long tasks may take to vanish after closing before they count as leaked.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Connects a bus by awaiting `connect`, puts `load` on it, closes it, and reports. `backend`
/// is the name to report. `progress` is called with how many more of [`Load::messages`] are
/// done, often and from several tasks. A mode that publishes before it consumes, or reads
/// back afterwards, reports only what is measured.
///
/// Run it on a runtime that does nothing else, or tasks of others count as well.
///
/// Cancelled, it leaves no task behind and drops the bus without closing it.
///
/// # Errors
/// `InvalidConfig` for a load that makes no sense, what connecting, subscribing and closing
/// can say, and the first refusal of a publish that the rest would meet as well; where each message, or
/// batch, is waited for, also the tenth failure in a row.
///
/// # Panics
/// Outside a Tokio runtime.
pub async fn run(
    backend: &str,
    load: &Load,
    connect: impl Future<Output = Result<Arc<dyn EventBus>, Error>>,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<Report, Error> {
    load.validate()?;
    let before = Usage::now().tasks;
    let bus = connect.await?;
    let (run, topic) = name(load)?;
    let mut run = Run {
        stats_before: bus.stats(),
        bus,
        topics: load.all_topics(&topic)?.into(),
        filter: load.filter(&topic)?,
        load: Arc::new(load.clone()),
        origin: Origin { run, started: Instant::now() },
        before,
        progress: Arc::new(progress),
    };
    let figures = run.measure().await;
    let closed = run.bus.close().await;
    drop(run);
    let leaked_tasks = left_over(before).await;
    let figures = figures?;
    closed?;
    Ok(figures.into_report(backend, load, leaked_tasks))
}

/// The number and the topic of a run.
fn name(load: &Load) -> Result<(u64, Topic), Error> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let run = now.map_or(0, |now| now.as_nanos() as u64);
    let topic = match &load.topic {
        Some(topic) => topic.clone(),
        None => format!("bench.run-{run:x}").parse()?,
    };
    Ok((run, topic))
}

async fn left_over(before: usize) -> usize {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let left = Usage::now().tasks.saturating_sub(before);
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

struct Run {
    bus: Arc<dyn EventBus>,
    topics: Arc<[Topic]>,
    /// What selects them.
    filter: TopicFilter,
    load: Arc<Load>,
    origin: Origin,
    /// What the bus had done before.
    stats_before: Stats,
    /// Tasks before there was a bus.
    before: usize,
    progress: Progress,
}

impl Run {
    async fn measure(&mut self) -> Result<Figures, Error> {
        self.open_topics().await?;
        self.stats_before = self.bus.stats();
        match self.load.mode {
            Mode::Consume => self.consume().await,
            _ => self.publish().await,
        }
    }

    /// Where there are several topics, to find each of them is not part of what is measured.
    async fn open_topics(&self) -> Result<(), Error> {
        const AT_ONCE: usize = 32;
        let several = self.topics.len() > 1;
        let open = |topic: Topic| async move {
            self.bus.ensure_topic(&topic).await?;
            if several {
                self.bus.publish_sync(&topic, Envelope::new("bench.warm-up", "")).await?;
            }
            Ok(())
        };
        let topics: Vec<Topic> = self.topics.to_vec();
        stream::iter(topics).map(open).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn publish(&self) -> Result<Figures, Error> {
        let (goal, expected) = watch::channel(None);
        let reader = if self.load.end_to_end {
            let options = SubscribeOptions::new().start(Start::Latest);
            let reader = self.reader(options, quiet()).await?;
            Some(Task::spawn(reader.read(expected)))
        } else {
            None
        };
        let (go, gate) = watch::channel(false);
        let (samples, receipts) = sample_channel();
        let timer = Task::spawn(time_receipts(receipts));
        let mut publishers = self.publishers(&self.progress, &gate, Some(&samples));
        drop(samples);
        let own = publishers.len() + 1 + usize::from(reader.is_some());

        let idle = self.usage(own);
        let monitor = Monitor::start().map_err(no_thread)?;
        let started = Instant::now();
        let _ = go.send(true);
        let (accept, mut ack) = join(&mut publishers).await?;
        self.flush().await?;
        let elapsed = started.elapsed();

        ack.add(&timer.join().await?);
        let (acked, failed) = self.verdicts();
        let _ = goal.send(Some(acked));
        let reader = match reader {
            Some(reader) => Some(reader.join().await??),
            None => None,
        };
        let observed = monitor.finish();
        let reader = match reader {
            None if self.load.checks_order() => Some(self.read_back(acked).await?),
            reader => reader,
        };
        let missing = reader.as_ref().map(|reader| acked.saturating_sub(reader.seen.distinct()));
        let violations = reader.as_ref().map(|reader| reader.seen.violations());
        Ok(Figures {
            acked,
            failed,
            elapsed,
            accept,
            ack,
            e2e: reader.and_then(|reader| reader.e2e).unwrap_or_else(Latencies::new),
            started,
            idle,
            observed,
            own_tasks: self.before + own,
            missing,
            // None among some of them does not say that there is none.
            order_violations: violations
                .filter(|found| self.load.checks_order() && (*found > 0 || missing == Some(0))),
        })
    }

    async fn consume(&self) -> Result<Figures, Error> {
        let (go, gate) = watch::channel(true);
        join(&mut self.publishers(&quiet(), &gate, None)).await?;
        self.flush().await?;
        let (stored, _) = self.verdicts();

        let _ = go.send(false);
        let (_goal, expected) = watch::channel(Some(stored));
        let mut reading = Vec::new();
        for number in 0..self.load.subscriptions {
            // Each in a group of its own, which gets everything.
            let group = format!("bench-{number}");
            let options = SubscribeOptions::group(group).start(Start::Earliest);
            let progress = if number == 0 { self.progress.clone() } else { quiet() };
            let reader = self.reader(options, progress).await?;
            let (mut gate, expected) = (gate.clone(), expected.clone());
            reading.push(Task::spawn(async move {
                let _ = gate.wait_for(|open| *open).await;
                reader.read(expected).await
            }));
        }
        let own = reading.len();
        let idle = self.usage(own);
        let monitor = Monitor::start().map_err(no_thread)?;
        let started = Instant::now();
        let _ = go.send(true);
        let (mut acked, mut last, mut violations) = (0, started, 0);
        let mut settle = Latencies::new();
        for reader in reading {
            let reader = reader.join().await??;
            acked += reader.settled;
            last = last.max(reader.last);
            violations += reader.seen.violations();
            settle.add(&reader.settle);
        }
        let observed = monitor.finish();
        Ok(Figures {
            acked,
            failed: self.load.messages * u64::from(self.load.subscriptions) - acked,
            elapsed: last.saturating_duration_since(started),
            accept: Latencies::new(),
            ack: settle,
            e2e: Latencies::new(),
            started,
            idle,
            observed,
            own_tasks: self.before + own,
            missing: None,
            order_violations: self.load.checks_order().then_some(violations),
        })
    }

    /// Publishing tasks that start when the gate opens.
    fn publishers(
        &self,
        progress: &Progress,
        gate: &watch::Receiver<bool>,
        samples: Option<&mpsc::Sender<Sample>>,
    ) -> JoinSet<Result<Publisher, Error>> {
        let mut tasks = JoinSet::new();
        for number in 0..self.load.publishers {
            let publisher = Publisher {
                bus: self.bus.clone(),
                topics: self.topics.clone(),
                messages: Messages::new(&self.load, self.origin, number),
                progress: progress.clone(),
                accept: Latencies::new(),
                ack: Latencies::new(),
            };
            let (load, samples, mut gate) = (self.load.clone(), samples.cloned(), gate.clone());
            tasks.spawn(async move {
                let _ = gate.wait_for(|open| *open).await;
                publisher.run(&load, samples).await
            });
        }
        tasks
    }

    async fn reader(&self, options: SubscribeOptions, progress: Progress) -> Result<Reader, Error> {
        let options = options.max_in_flight(self.load.consumer_window);
        let subscription = self.bus.subscribe(&self.filter, options).await?;
        let seen = Seen::nothing(&self.load);
        let end_to_end = self.load.end_to_end;
        Ok(Reader::new(subscription, self.origin, progress, seen, end_to_end))
    }

    /// Reads what the topic still holds.
    async fn read_back(&self, stored: u64) -> Result<Reader, Error> {
        let options = SubscribeOptions::new().start(Start::Earliest);
        let reader = self.reader(options, quiet()).await?;
        let (_goal, expected) = watch::channel(Some(stored));
        reader.read(expected).await
    }

    /// Waits for all verdicts, for as long as some still come.
    async fn flush(&self) -> Result<(), Error> {
        loop {
            let before = self.bus.stats().in_flight;
            match self.bus.flush().await {
                Err(error) if self.bus.stats().in_flight >= before => return Err(error),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
    }

    /// How many messages were acknowledged, and how many failed or were refused.
    fn verdicts(&self) -> (u64, u64) {
        let (before, now) = (&self.stats_before, self.bus.stats());
        let failed = now.failed + now.refused - before.failed - before.refused;
        (now.acknowledged - before.acknowledged, failed)
    }

    fn usage(&self, own: usize) -> Usage {
        self.own_removed(Usage::now(), own)
    }

    /// Leaves out the tasks that belong to the load or were there before.
    fn own_removed(&self, usage: Usage, own: usize) -> Usage {
        Usage { tasks: usage.tasks.saturating_sub(self.before + own), ..usage }
    }
}

/// Waits for the publishers; the first error ends the others.
async fn join(
    publishers: &mut JoinSet<Result<Publisher, Error>>,
) -> Result<(Latencies, Latencies), Error> {
    let (mut accept, mut ack) = (Latencies::new(), Latencies::new());
    while let Some(publisher) = publishers.join_next().await {
        let publisher = publisher.map_err(|error| died(&error))??;
        accept.add(&publisher.accept);
        ack.add(&publisher.ack);
    }
    Ok((accept, ack))
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "no thread could be started").with_source(error)
}

fn quiet() -> Progress {
    Arc::new(|_| {})
}
