//! `eventbus pub`.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::Instant,
};

use clap::Args;
use eventbus::{EventBus, PublishFailure, Topic};
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    args::Global,
    connect::Target,
    event::{self, Defaults},
    exit::{Exit, Failure, complain},
    input::{LineForm, Lines, Numbered},
    interrupt::Interrupt,
    mode::PublishMode,
    output::{count, out, short},
    publishing::{Failures, Publishing, Source},
};

const EXAMPLES: &str = "\
Examples:
  eventbus pub orders.created '{\"id\":42}' --key 42 --type order.created
  eventbus pub < events.jsonl                        one JSON event a line
  tail -f app.log | eventbus pub logs --raw          one payload a line
  eventbus sub a --json | eventbus pub b             copy from one topic to another";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", event::LINES))]
pub(crate) struct PubArgs {
    /// The topic for all events; without it, each event on standard input names its own
    topic: Option<Topic>,
    /// One payload, JSON or text; without it, events are read from standard input
    payload: Option<String>,
    /// Each line of standard input is a payload, not an event
    #[arg(long, conflicts_with = "payload", requires = "topic")]
    raw: bool,
    #[command(flatten)]
    fields: Fields,
    /// How to publish
    #[arg(long, value_enum, default_value_t = PublishMode::Async)]
    mode: PublishMode,
    /// How many events a batch has
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
}

#[derive(Debug, Args)]
struct Fields {
    /// The ordering key, for events that have none: events with one key keep their order
    #[arg(long)]
    key: Option<String>,
    /// The type, for events that have none; without it, the topic's name
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The program or service that events come from, if they do not say it
    #[arg(long)]
    source: Option<String>,
    /// The media type, for events that have none; without it, found out
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// A header, for events that do not have it; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

pub(crate) async fn run(
    global: &Global,
    args: PubArgs,
    interrupt: &Interrupt,
) -> Result<Exit, Failure> {
    let target = Target::new(global.url())?;
    let failures = Arc::new(Failures::default());
    let handler = failures.clone();
    let builder = eventbus::builder(&target.url)
        .on_publish_failure(move |failure: PublishFailure| handler.show(&failure));
    let bus = interrupt.or(async { Ok(builder.connect().await?) }).await?;
    if target.is_memory() {
        complain(
            "note: memory:// lives in this process, so nobody else can read what is published \
             here; try `eventbus run FILE`, or name a broker with --url",
        );
    }
    let hidden = ProgressBar::hidden();
    let mut publishing =
        Publishing::new(&*bus, args.mode, args.batch_size as usize, &failures, &hidden);
    let started = Instant::now();
    let outcome = publishing.all(args.source(), interrupt).await;
    let flushed = bus.flush().await;
    let elapsed = started.elapsed();
    let (last, stats) = (publishing.last(), bus.stats());
    bus.close().await?;

    let (stored, failed) = (stats.acknowledged, stats.failed + stats.refused);
    let mut out = out();
    if global.json {
        let line = json!({
            "mode": args.mode, "published": stored + failed, "stored": stored, "failed": failed,
            "elapsed_s": elapsed.as_secs_f64(), "last_position": last.map(|p| p.to_string()),
        });
        writeln!(out, "{line}")?;
    } else {
        write!(out, "{} stored", count(stored, "event"))?;
        if failed > 0 {
            write!(out, ", {failed} not stored")?;
        }
        write!(out, "   {}, {}", args.mode, short(elapsed))?;
        if let Some(last) = last {
            write!(out, "   last at {last}")?;
        }
        writeln!(out)?;
    }
    out.flush()?;
    outcome?;
    flushed?;
    Ok(match failed {
        _ if interrupt.is_requested() => Exit::Interrupted,
        0 => Exit::Done,
        _ => Exit::Failed,
    })
}

impl PubArgs {
    fn defaults(&self) -> Defaults {
        Defaults {
            topic: self.topic.clone(),
            topic_for_all: true,
            event_type: self.fields.event_type.clone(),
            key: self.fields.key.clone(),
            source: self.fields.source.clone(),
            content_type: self.fields.content_type.clone(),
            headers: self.fields.headers.clone(),
        }
    }

    fn source(&self) -> Source {
        let defaults = self.defaults();
        if let (Some(payload), Some(topic)) = (&self.payload, &self.topic) {
            return Source::of(vec![Numbered {
                line: None,
                topic: topic.clone(),
                envelope: event::of_payload(payload, topic, &defaults),
            }]);
        }
        let (form, what) = if self.raw {
            (LineForm::Payload, "payloads")
        } else {
            (LineForm::Event, "JSON events")
        };
        if io::stdin().is_terminal() {
            complain(&format!("reading {what}, one a line; Ctrl-D ends"));
        }
        let lines = Lines::new(tokio::io::stdin(), "standard input", form, defaults);
        Source::Lines(Box::new(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_a_name() {
        assert_eq!(header("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(header("a="), Ok(("a".to_owned(), String::new())));
        assert!(header("=b").is_err());
        assert!(header("a").is_err());
    }
}
