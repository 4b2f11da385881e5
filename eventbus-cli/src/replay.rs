//! `eventbus run`: a file through a bus and back.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use eventbus::{
    EventBus, PublishFailure, ReceiveError, SubscribeOptions, Subscription, Topic, TopicFilter,
};
use serde_json::json;
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

use crate::{
    args::Global,
    connect::Target,
    event::{self, Defaults},
    exit::{Exit, Failure},
    input::{LineForm, Lines, Numbered},
    interrupt::Interrupt,
    mode::PublishMode,
    output::{HEAD, count, out, rate, short, thousands},
    progress,
    publishing::{Failures, Publishing, Source},
    tasks::Task,
    verdict::{self, Verdict},
};

const EXAMPLES: &str = "\
Examples:
  eventbus run events.jsonl
  eventbus run events.jsonl --mode batch --json
  eventbus run events.jsonl --topic demo.events      for lines that name no topic

The file is read and checked before anything is published. The exit code is 1 when an event
was not stored or did not come back.";

/// How long to wait when nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many topics are listed.
const SHOWN_TOPICS: usize = 12;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", event::LINES))]
pub(crate) struct RunArgs {
    /// A file with one JSON event a line
    file: PathBuf,
    /// The topic of events that name none
    #[arg(long)]
    topic: Option<Topic>,
    /// How to publish
    #[arg(long, value_enum, default_value_t = PublishMode::Async)]
    mode: PublishMode,
    /// How many events a batch has
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
}

pub(crate) async fn run(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    let target = Target::new(global.url())?;
    let file = File::read(&args.file, args.topic.clone()).await?;
    let target = target.keeping(file.stored_bytes());
    let failures = Arc::new(Failures::default());
    let handler = failures.clone();
    let bus = eventbus::builder(&target.url)
        .on_publish_failure(move |failure: PublishFailure| handler.show(&failure))
        .connect()
        .await?;
    let replayed = replay(&*bus, file, args, &failures, global.json).await;
    let closed = bus.close().await;
    let replayed = replayed?;
    closed?;

    let verdicts = replayed.verdicts();
    if global.json {
        replayed.print_json(args, &target, &verdicts)?;
    } else {
        replayed.print_text(args, &target, &verdicts)?;
    }
    Ok(if verdict::all_ok(&verdicts) { Exit::Done } else { Exit::Failed })
}

/// The events of a file.
struct File {
    events: Vec<Numbered>,
    topics: BTreeMap<Topic, u64>,
}

impl File {
    async fn read(path: &Path, topic: Option<Topic>) -> Result<Self, Failure> {
        let unreadable = |problem: &dyn std::fmt::Display| {
            Failure::usage(format!("{} cannot be read: {problem}", path.display()))
                .tip("give a file with one JSON event a line; `eventbus run --help` shows one")
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
        let metadata = file.metadata().await.map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            return Err(unreadable(&"it is a directory"));
        }
        let defaults = Defaults { topic, ..Defaults::default() };
        let name = path.display().to_string();
        let mut lines = Lines::new(file, name, LineForm::Event, defaults);
        let (mut events, mut topics) = (Vec::new(), BTreeMap::new());
        while let Some(event) = lines.next().await {
            let event = event.map_err(|failure| {
                failure
                    .note("nothing was published")
                    .tip("`eventbus run --help` shows what a line is")
            })?;
            *topics.entry(event.topic.clone()).or_insert(0) += 1;
            events.push(event);
        }
        if events.is_empty() {
            return Err(unreadable(&"it has no events"));
        }
        Ok(Self { events, topics })
    }

    fn stored_bytes(&self) -> u64 {
        let encoded: usize = self.events.iter().map(|event| event.envelope.encoded_len()).sum();
        2 * encoded as u64 + 512 * self.events.len() as u64
    }

    fn filter(&self) -> TopicFilter {
        match self.topics.first_key_value() {
            Some((topic, _)) if self.topics.len() == 1 => topic.filter(),
            _ => TopicFilter::from_static(">"),
        }
    }
}

async fn replay(
    bus: &dyn EventBus,
    file: File,
    args: &RunArgs,
    failures: &Failures,
    json: bool,
) -> Result<Replayed, Failure> {
    for topic in file.topics.keys() {
        bus.ensure_topic(topic).await?;
    }
    let subscription = bus.subscribe(&file.filter(), SubscribeOptions::new()).await?;
    let expected = Expected::new(&file.events);
    let (events, keys) = (file.events.len() as u64, expected.keys);
    let (goal, stored) = watch::channel(None);
    let started = Instant::now();
    let consumer = Task::spawn(consume(subscription, expected, stored));

    let bar = progress::bar(events, "publishing", json);
    let mut publishing = Publishing::new(bus, args.mode, args.batch_size as usize, failures, &bar);
    let published = publishing.all(Source::of(file.events), &Interrupt::never()).await;
    let flushed = bus.flush().await;
    let publish_time = started.elapsed();
    bar.finish_and_clear();
    published?;
    flushed?;
    let stats = bus.stats();
    let _ = goal.send(Some(stats.acknowledged));
    let came = consumer.join().await??;
    Ok(Replayed {
        topics: file.topics,
        events,
        stored: stats.acknowledged,
        failed: stats.failed + stats.refused,
        keys,
        publish_time,
        deliver_time: came.last.saturating_duration_since(started),
        came,
    })
}

/// What the consumer waits for.
struct Expected {
    /// The places in the file of each id.
    places: HashMap<Uuid, VecDeque<usize>>,
    /// The topic and key of each event, as a number.
    lanes: Vec<Option<usize>>,
    keys: u64,
}

impl Expected {
    fn new(events: &[Numbered]) -> Self {
        let mut places: HashMap<_, VecDeque<_>> = HashMap::new();
        let mut numbers = HashMap::new();
        let mut lanes = Vec::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            places.entry(event.envelope.id()).or_default().push_back(place);
            lanes.push(event.envelope.aggregate_id().map(|key| {
                let next = numbers.len();
                *numbers.entry((event.topic.clone(), key.to_owned())).or_insert(next)
            }));
        }
        Self { places, lanes, keys: numbers.len() as u64 }
    }
}

/// What came.
struct Came {
    delivered: u64,
    again: u64,
    out_of_order: u64,
    last: Instant,
}

async fn consume(
    mut subscription: Subscription,
    mut expected: Expected,
    mut goal: watch::Receiver<Option<u64>>,
) -> Result<Came, Failure> {
    let mut highest = vec![0; expected.keys as usize];
    let mut came = Came { delivered: 0, again: 0, out_of_order: 0, last: Instant::now() };
    loop {
        let known = *goal.borrow_and_update();
        if known.is_some_and(|goal| came.delivered >= goal) {
            return Ok(came);
        }
        let item = tokio::select! {
            item = timeout(PATIENCE, subscription.next()) => item,
            Ok(()) = goal.changed(), if known.is_none() => continue,
        };
        let delivery = match item {
            Ok(Some(Ok(delivery))) => delivery,
            // Of others, or lost to retention, which the count shows.
            Ok(Some(Err(ReceiveError::Undecodable(_) | ReceiveError::Truncated(_)))) => continue,
            Ok(Some(Err(error))) => return Err(eventbus::Error::from(error).into()),
            Err(_) if known.is_none() => continue,
            Ok(None) | Err(_) => return Ok(came),
        };
        let places = expected.places.get_mut(&delivery.envelope().id());
        let place = places.map(VecDeque::pop_front);
        delivery.ack().await.map_err(eventbus::Error::from)?;
        match place {
            // Of others.
            None => {}
            Some(None) => came.again += 1,
            Some(Some(place)) => {
                came.delivered += 1;
                came.last = Instant::now();
                if let Some(lane) = expected.lanes[place] {
                    came.out_of_order += u64::from(place < highest[lane]);
                    highest[lane] = highest[lane].max(place);
                }
            }
        }
    }
}

/// What a run was.
struct Replayed {
    topics: BTreeMap<Topic, u64>,
    events: u64,
    stored: u64,
    failed: u64,
    keys: u64,
    publish_time: Duration,
    deliver_time: Duration,
    came: Came,
}

impl Replayed {
    fn verdicts(&self) -> Vec<Verdict> {
        let Came { delivered, again, .. } = self.came;
        let stored = format!("{} of {}", thousands(self.stored), thousands(self.events));
        let came = format!("{} of {}", thousands(delivered), thousands(self.stored));
        let again = match again {
            0 => String::new(),
            again => format!(", {} again", thousands(again)),
        };
        let mut verdicts = vec![
            Verdict::new("every event was stored", self.stored == self.events, stored),
            Verdict::new(
                "every stored event was delivered and acknowledged",
                delivered == self.stored,
                came + &again,
            ),
        ];
        if self.keys > 0 {
            let wrong = self.came.out_of_order;
            let seen = format!("{}, {} out of order", count(self.keys, "key"), thousands(wrong));
            verdicts.push(Verdict::new("events of one key kept their order", wrong == 0, seen));
        }
        verdicts
    }

    fn print_text(
        &self,
        args: &RunArgs,
        target: &Target,
        verdicts: &[Verdict],
    ) -> Result<(), Failure> {
        let mut out = out();
        let (file, place) = (args.file.display(), &target.place);
        writeln!(out, "{HEAD}{file}{HEAD:#} through {place}, mode {}\n", args.mode)?;
        for (at, (topic, events)) in self.topics.iter().take(SHOWN_TOPICS).enumerate() {
            let heading = if at == 0 { "topics" } else { "" };
            writeln!(out, "{heading:10}{:>10}  {topic}", thousands(*events))?;
        }
        if self.topics.len() > SHOWN_TOPICS {
            let more = self.topics.len() - SHOWN_TOPICS;
            writeln!(out, "{:22}and {more} more", "")?;
        }
        let line = |events: u64, time: Duration| {
            format!("{:>10}  in {:>7}  {:>12}", thousands(events), short(time), rate(events, time))
        };
        writeln!(out, "{:10}{}", "stored", line(self.stored, self.publish_time))?;
        writeln!(out, "{:10}{}\n", "delivered", line(self.came.delivered, self.deliver_time))?;
        verdict::print(&mut out, "verdict", verdicts)?;
        Ok(out.flush()?)
    }

    fn print_json(
        &self,
        args: &RunArgs,
        target: &Target,
        verdicts: &[Verdict],
    ) -> Result<(), Failure> {
        let mut out = out();
        let line = json!({
            "file": args.file.display().to_string(), "backend": target.backend, "mode": args.mode,
            "events": self.events, "topics": self.topics, "stored": self.stored,
            "failed": self.failed, "delivered": self.came.delivered,
            "delivered_again": self.came.again, "keys": self.keys,
            "order_violations": self.came.out_of_order,
            "publish_s": self.publish_time.as_secs_f64(),
            "deliver_s": self.deliver_time.as_secs_f64(), "verdicts": verdicts,
            "ok": verdict::all_ok(verdicts),
        });
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}
