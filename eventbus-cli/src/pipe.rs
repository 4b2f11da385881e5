//! `eventbus pipe`.

mod copy;
mod report;

use std::{io::Write, time::Duration};

use clap::Args;
use eventbus::{EventBus, Ordering, SubscribeOptions, Subscription, Topic, TopicFilter};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Global,
    connect::Target,
    exit::{Exit, Failure, complain},
    interrupt::Interrupt,
    output::{count, out, rate, short},
    start::{From, start},
};
use copy::{Copying, Ended};
use report::{Progress, Tally};

const EXAMPLES: &str = "\
Examples:
  eventbus pipe --from nats://a --to kafka://b 'orders.>'           until Ctrl-C
  eventbus pipe --from kafka://b --to nats://c orders.created 'stock.*' --until-idle 30s
  eventbus pipe --from nats://a --to nats://a?prefix=copy 'orders.>' --start 1h

Each event is published at the destination under the same topic and with its whole envelope:
id, key, headers and timestamps stay what they are. It is acknowledged at the source only after
the destination has acknowledged it, so an event that is not there yet is read again: by the
same command, which goes on where the group stopped.

A key's events are copied one after the other and keep their order, also when a broker is away;
different keys, and events without a key, are copied side by side. One key therefore moves at the
speed of one round trip each, many keys at that of the window. The exception is NATS as the source:
what another pipe of the group has in hand, or had when it was killed, can come behind newer events.

When a broker is away, it is waited for, as long as it takes. Nothing is lost by that; what was
under way may be copied twice where the destination cannot tell (on NATS it can, for ids within
its duplicate window). Ctrl-C stops reading, waits for what is under way and acknowledges it.
The exit code is then 0, or 130 if --count or --until-idle was not reached.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PipeArgs {
    /// The bus to read from [default: that of --url]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The bus to publish to
    #[arg(long, value_name = "URL")]
    to: String,
    /// Topics, or patterns: `*` stands for one segment, a final `>` for one or more
    #[arg(value_name = "TOPIC", required = true)]
    filters: Vec<TopicFilter>,
    /// The group at the source, whose position is kept; several pipes with one group share the work
    #[arg(long, default_value = "pipe")]
    group: String,
    /// Where to start if the group has no position yet: earliest, latest, a position, a time, or
    /// how long ago [default: earliest]
    #[arg(long, value_name = "START")]
    start: Vec<From>,
    /// How many events may be under way at once
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: u32,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End when the source is well and nothing has come for so long, such as `30s`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    until_idle: Option<Duration>,
    /// Move what is no envelope, or what the destination can never take, such as an envelope
    /// too large for it, to this topic at the source; without it, such a message ends the pipe
    #[arg(long, value_name = "TOPIC")]
    dead_letter: Option<Topic>,
    /// Leave out what is no envelope: it is told, acknowledged and counted
    #[arg(long, conflicts_with = "dead_letter")]
    skip_undecodable: bool,
}

pub(crate) async fn run(
    global: &Global,
    args: PipeArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let from = args.from.as_deref().unwrap_or_else(|| global.url());
    let source = Target::new(from).map_err(|failure| failure.context("--from: "))?;
    let destination = Target::new(&args.to).map_err(|failure| failure.context("--to: "))?;
    args.refuse_nonsense(&source, &destination)?;
    let options = args.options()?;
    let (from, to) = interrupt.or(connect(&source, &destination)).await?;
    let piping = Piping { global, args: &args, source: &source, destination: &destination };
    let outcome = piping.run(&*from, &*to, options, interrupt).await;
    // The source first: it sends the last acknowledgements.
    let closed = from.close().await;
    to.close().await?;
    let exit = outcome?;
    closed?;
    Ok(exit)
}

type Bus = std::sync::Arc<dyn EventBus>;

async fn connect(source: &Target, destination: &Target) -> Result<(Bus, Bus), Failure> {
    let from = eventbus::builder(&source.url).connect().await;
    let from = from.map_err(|error| Failure::from(error).context("--from: "))?;
    // Of a publish that nobody waits for any more, the original is not acknowledged.
    let to = eventbus::builder(&destination.url).on_publish_failure(|_| {}).connect().await;
    match to {
        Ok(to) => Ok((from, to)),
        Err(error) => {
            from.close().await?;
            Err(Failure::from(error).context("--to: "))
        }
    }
}

impl PipeArgs {
    /// What can be known to be wrong before anything is connected.
    fn refuse_nonsense(&self, source: &Target, destination: &Target) -> Result<(), Failure> {
        for (option, target) in [("--from", source), ("--to", destination)] {
            if target.is_memory() {
                let message = format!(
                    "{option}: memory:// lives in this process and ends with it, so there is \
                     nothing to copy from or to; name a broker"
                );
                return Err(Failure::usage(message));
            }
        }
        if source.is_same_place(destination) {
            return Err(Failure::usage(
                "--from and --to name the same topics on the same servers, so each event would \
                 be copied onto itself without end; name another server, or on NATS another \
                 `?prefix=`",
            ));
        }
        for (at, filter) in self.filters.iter().enumerate() {
            if let Some(other) = self.filters[..at].iter().find(|other| other.overlaps(filter)) {
                let message = format!(
                    "{other} and {filter} select some topics both, whose events would be copied \
                     twice; give patterns that have no topic in common"
                );
                return Err(Failure::usage(message));
            }
        }
        Ok(())
    }

    fn options(&self) -> Result<SubscribeOptions, Failure> {
        // What is not going to be copied is left to the group's other members.
        let most =
            self.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut options = SubscribeOptions::group(&self.group)
            .ordering(Ordering::PerKey)
            .max_in_flight((self.window as usize).min(most));
        if let Some(start) =
            start(&self.start).map_err(|why| Failure::usage(why.replace("--from", "--start")))?
        {
            options = options.start(start);
        }
        if let Some(topic) = &self.dead_letter {
            options = options.dead_letter(topic.clone());
        }
        Ok(options)
    }
}

struct Piping<'a> {
    global: &'a Global,
    args: &'a PipeArgs,
    source: &'a Target,
    destination: &'a Target,
}

impl Piping<'_> {
    async fn run(
        &self,
        from: &dyn EventBus,
        to: &dyn EventBus,
        options: SubscribeOptions,
        interrupt: &Interrupt,
    ) -> Result<Exit, Failure> {
        let subscriptions = interrupt.or(self.subscribe(from, &options)).await?;
        let filters = self.args.filters.iter().map(ToString::to_string).collect::<Vec<_>>();
        complain(&format!(
            "copying {} from {} to {} as group {}; Ctrl-C ends",
            filters.join(" "),
            self.source.place,
            self.destination.place,
            self.args.group,
        ));
        let tally = Tally::default();
        let copying = Copying {
            from,
            to,
            tally: &tally,
            interrupt,
            window: self.args.window as usize,
            count: self.args.count,
            until_idle: self.args.until_idle,
            skip_undecodable: self.args.skip_undecodable,
            dead_letters: self.args.dead_letter.is_some(),
            ending: CancellationToken::new(),
        };
        let progress = Progress::new(&tally, self.global.json);
        let ended = tokio::select! {
            ended = copying.run(subscriptions) => ended,
            never = progress.show() => match never {},
        };
        progress.clear();
        self.summarize(&tally, from, ended.is_ok())?;
        Ok(match ended? {
            Ended::Interrupted if self.args.count.is_some() || self.args.until_idle.is_some() => {
                Exit::Interrupted
            }
            Ended::Interrupted | Ended::Done => Exit::Done,
        })
    }

    async fn subscribe(
        &self,
        from: &dyn EventBus,
        options: &SubscribeOptions,
    ) -> Result<Vec<Subscription>, Failure> {
        let mut subscriptions = Vec::with_capacity(self.args.filters.len());
        for filter in &self.args.filters {
            subscriptions.push(from.subscribe(filter, options.clone()).await?);
        }
        Ok(subscriptions)
    }

    fn summarize(&self, tally: &Tally, from: &dyn EventBus, well: bool) -> Result<(), Failure> {
        let (copied, elapsed) = (tally.copied.get(), tally.elapsed());
        let dead_lettered = from.stats().dead_lettered;
        let mut out = out();
        if self.global.json {
            let line = json!({
                "from": self.source.place, "to": self.destination.place,
                "group": self.args.group,
                "topics": self.args.filters.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "copied": copied, "already_there": tally.already_there.get(),
                "retried": tally.retried.get(), "given_back": tally.given_back.get(),
                "unacknowledged": tally.unacknowledged.get(),
                "skipped": tally.skipped.get(), "dead_lettered": dead_lettered,
                "gaps": tally.gaps.get(),
                "lag_s": tally.lag.get().map(|lag| lag.as_secs_f64()),
                "elapsed_s": elapsed.as_secs_f64(),
            });
            writeln!(out, "{line}")?;
        } else {
            write!(out, "{} copied", count(copied, "event"))?;
            for (number, what) in [
                (tally.already_there.get(), "of them known to the destination already"),
                (tally.retried.get(), "tries repeated"),
                (tally.skipped.get(), "skipped"),
                (dead_lettered, "moved to the dead-letter topic"),
                (tally.gaps.get(), "gaps at the source"),
                (tally.unacknowledged.get(), "copied but not acknowledged, which come again"),
            ] {
                if number > 0 {
                    write!(out, ", {number} {what}")?;
                }
            }
            writeln!(out, "   {}, {}", short(elapsed), rate(copied, elapsed))?;
        }
        out.flush()?;
        if well && !self.global.json {
            complain("the same command goes on from here");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        pipe: PipeArgs,
    }

    fn refusal(from: &str, to: &str, filters: &[&str]) -> Option<String> {
        let line = [&["pipe", "--from", from, "--to", to][..], filters].concat();
        let args = Line::try_parse_from(line).expect("a line").pipe;
        let target = |url: &str, scheme: &str| Target {
            url: url.to_owned(),
            backend: scheme.to_owned(),
            place: url.split('?').next().unwrap_or_default().to_owned(),
        };
        let scheme = |url: &str| url.split("://").next().unwrap_or_default().to_owned();
        let refused = args.refuse_nonsense(&target(from, &scheme(from)), &target(to, &scheme(to)));
        refused.err().map(|failure| failure.message().to_owned())
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let says = |refusal: Option<String>, what: &str| {
            assert!(refusal.as_ref().is_some_and(|text| text.contains(what)), "{refusal:?}");
        };
        says(refusal("memory://", "nats://a", &["a"]), "--from: memory:// lives");
        says(refusal("nats://a", "memory://", &["a"]), "--to: memory:// lives");
        says(refusal("nats://a", "nats://a", &["a"]), "without end");
        says(refusal("nats://a", "nats://b", &["a.>", "a.b"]), "a.> and a.b");
        says(refusal("nats://a", "nats://b", &["a", "a"]), "twice");
        assert_eq!(refusal("nats://a", "kafka://a", &["a.*", "b.>"]), None);
        assert_eq!(refusal("nats://a", "nats://a?prefix=copy", &["a"]), None);
    }
}
