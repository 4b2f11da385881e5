//! Kafka's producer and consumer performance tools.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::child::{self, ToolError};
use crate::{
    Load, Mode,
    measure::{Job, Place, Sample, Tool},
};

const TOOL: Tool = Tool::KafkaPerf;
const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER: &str = "org.apache.kafka.tools.ConsumerPerformance";
/// What fills a topic that is then consumed: fast, and not measured.
const FILL_BATCH: usize = 1000;
/// No batch is larger: as librdkafka's, and less than a broker takes unless told otherwise
/// (1,048,588). One that is refused as too large the tool splits, again and again.
const MOST_BYTES: usize = 1_000_000;

fn java(class: &str) -> Result<Command, ToolError> {
    let variable = super::variable(TOOL);
    let class_path: OsString =
        std::env::var_os(variable).ok_or(ToolError::Missing { tool: TOOL, variable })?;
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-cp"]).arg(class_path).arg(class).kill_on_drop(true);
    Ok(command)
}

/// The version in the name of the jar that has the tools.
pub(super) fn version() -> String {
    let class_path = std::env::var(super::variable(TOOL)).unwrap_or_default();
    class_path.split([':', ';']).flat_map(jars).find_map(|jar| version_of(&jar)).unwrap_or_default()
}

/// The jar, or the jars of a directory that stands there as `directory/*`.
fn jars(path: &str) -> Vec<PathBuf> {
    let Some(directory) = path.strip_suffix('*') else { return vec![path.into()] };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn version_of(jar: &Path) -> Option<String> {
    let version = jar.file_name()?.to_str()?.strip_prefix("kafka-tools-")?.strip_suffix(".jar")?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

pub(super) async fn measure(job: &Job, place: &Place) -> Result<Sample, ToolError> {
    let load = &job.load;
    match load.mode {
        Mode::Async => Ok(publish(place, load, job.tool_batch).await?.sample(load)),
        Mode::Consume => {
            publish(place, load, FILL_BATCH).await?;
            Ok(consume(place, load).await?.sample(load))
        }
        mode => Err(ToolError::NotMeasured { tool: TOOL, mode }),
    }
}

/// What the tool did.
#[derive(Debug, PartialEq)]
struct Figures {
    messages: u64,
    per_s: f64,
}

impl Figures {
    fn sample(&self, load: &Load) -> Sample {
        let failed = load.messages.saturating_sub(self.messages);
        Sample::of_rate(self.messages, failed, self.messages as f64 / self.per_s)
    }
}

async fn publish(place: &Place, load: &Load, batch: usize) -> Result<Figures, ToolError> {
    let mut command = java(PRODUCER)?;
    command.arg("--topic").arg(place.topic.as_str());
    command.args(["--num-records", &load.messages.to_string()]);
    command.args(["--record-size", &load.size.to_string(), "--throughput", "-1"]);
    command.arg("--producer-props").arg(format!("bootstrap.servers={}", place.servers));
    command.args(["acks=all", "enable.idempotence=true"]);
    command.arg(format!("batch.size={}", (batch * load.size).min(MOST_BYTES)));
    let said = child::run(TOOL, &mut command).await?;
    of_producer(&said)
        .ok_or_else(|| ToolError::Unreadable { tool: TOOL, output: child::tail(&said) })
}

async fn consume(place: &Place, load: &Load) -> Result<Figures, ToolError> {
    let mut command = java(CONSUMER)?;
    command.arg("--bootstrap-server").arg(&place.servers);
    command.arg("--topic").arg(place.topic.as_str());
    command.args(["--messages", &load.messages.to_string(), "--timeout", "30000"]);
    let said = child::run(TOOL, &mut command).await?;
    of_consumer(&said)
        .ok_or_else(|| ToolError::Unreadable { tool: TOOL, output: child::tail(&said) })
}

/// Of the last line `N records sent, R records/sec (…), …`.
fn of_producer(said: &str) -> Option<Figures> {
    let line = said.lines().rev().find(|line| line.contains("records/sec"))?;
    let messages = line.split(" records sent").next()?.trim().parse().ok()?;
    let before = line.split("records/sec").next()?;
    Some(Figures { messages, per_s: positive(before.rsplit(',').next()?)? })
}

/// Of the column `fetch.nMsg.sec`: without joining the group.
fn of_consumer(said: &str) -> Option<Figures> {
    let mut lines = said.lines().skip_while(|line| !line.contains("fetch.nMsg.sec"));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |name: &str| {
        let at = names.split(',').position(|known| known.trim() == name)?;
        values.split(',').nth(at)
    };
    let messages = of("data.consumed.in.nMsg")?.trim().parse().ok()?;
    Some(Figures { messages, per_s: positive(of("fetch.nMsg.sec")?)? })
}

fn positive(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|rate: &f64| *rate > 0.0 && rate.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_producer_counts() {
        let said = "9 records sent, 1.0 records/sec (0.1 MB/sec), 2.0 ms avg latency.\n\
            100000 records sent, 157232.7 records/sec (38.39 MB/sec), 300.1 ms avg latency, \
            500.00 ms max latency, 310 ms 50th, 480 ms 95th, 499 ms 99th, 500 ms 99.9th.\n";
        assert_eq!(of_producer(said), Some(Figures { messages: 100_000, per_s: 157_232.7 }));
        assert_eq!(of_producer("nothing"), None);
    }

    #[test]
    fn joining_the_group_does_not_count() {
        let said = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, \
            nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
            2026-01-01 00:00:00:000, 2026-01-01 00:00:04:000, 24.4, 6.1, 100000, 25000.0, \
            3500, 500, 48.8, 200000.5\n";
        assert_eq!(of_consumer(said), Some(Figures { messages: 100_000, per_s: 200_000.5 }));
        assert_eq!(of_consumer("fetch.nMsg.sec\n"), None);
    }
}
