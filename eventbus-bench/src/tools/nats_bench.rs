//! `nats bench js`.

use std::path::Path;

use tokio::process::Command;

use super::child::{self, ToolError};
use crate::{
    Load, Mode, Quantiles,
    measure::{Job, Place, Sample, Tool},
};

const TOOL: Tool = Tool::NatsBench;
/// What fills a stream that is then consumed: fast, and not measured.
const FILL_BATCH: usize = 1000;
/// How many acknowledgements `pub fast` lets be outstanding; with its default of one it waits
/// for each.
const FAST_OUTSTANDING: &str = "--max-outstanding-acks=10";

pub(super) fn command() -> Result<Command, ToolError> {
    let variable = super::variable(TOOL);
    let program = std::env::var_os(variable).ok_or(ToolError::Missing { tool: TOOL, variable })?;
    let mut command = Command::new(program);
    // A context that somebody has selected must not decide where it goes.
    command.env("NATS_CONTEXT", "").kill_on_drop(true);
    Ok(command)
}

pub(super) async fn measure(job: &Job, place: &Place) -> Result<Sample, ToolError> {
    let scratch = tempfile::tempdir().map_err(|source| ToolError::Start { tool: TOOL, source })?;
    let csv = scratch.path().join("figures.csv");
    let load = &job.load;
    let figures = match load.mode {
        Mode::Async => publish(place, load, &["async"], Some(job.tool_batch), &csv).await?,
        Mode::Batch => publish(place, load, &["async"], Some(load.batch_size), &csv).await?,
        Mode::Sync => publish(place, load, &["sync"], None, &csv).await?,
        Mode::Consume => {
            publish(place, load, &["async"], Some(FILL_BATCH), &csv).await?;
            consume(place, load, job.tool_batch, &csv).await?
        }
    };
    let mut sample = Sample::of_rate(load.messages, 0, figures.seconds);
    // In mode async it tells how long a batch took, which compares with nothing.
    sample.ack_us = figures.latency.filter(|_| matches!(load.mode, Mode::Sync | Mode::Batch));
    Ok(sample)
}

/// What the same program reaches with batches.
pub(super) async fn measure_fast(job: &Job, place: &Place) -> Result<Sample, ToolError> {
    let scratch = tempfile::tempdir().map_err(|source| ToolError::Start { tool: TOOL, source })?;
    let csv = scratch.path().join("figures.csv");
    let how = ["fast", FAST_OUTSTANDING];
    let figures = publish(place, &job.load, &how, Some(job.tool_batch), &csv).await?;
    Ok(Sample::of_rate(job.load.messages, 0, figures.seconds))
}

async fn publish(
    place: &Place,
    load: &Load,
    how: &[&str],
    batch: Option<usize>,
    csv: &Path,
) -> Result<Figures, ToolError> {
    let mut command = bench(place, load, csv)?;
    command.arg("pub").args(how).arg(place.subject(&place.topic));
    if let Some(batch) = batch {
        command.arg(format!("--batch={batch}"));
    }
    finish(command, csv).await
}

async fn consume(
    place: &Place,
    load: &Load,
    batch: usize,
    csv: &Path,
) -> Result<Figures, ToolError> {
    let mut command = bench(place, load, csv)?;
    command.args(["consume", "--acks=explicit", &format!("--batch={batch}")]);
    finish(command, csv).await
}

/// On the stream of the place, which exists with the settings that the bus gave it.
fn bench(place: &Place, load: &Load, csv: &Path) -> Result<Command, ToolError> {
    let mut command = command()?;
    let urls: Vec<_> = place.servers.split(',').map(|server| format!("nats://{server}")).collect();
    command.env("NATS_URL", urls.join(",")).args(["bench", "js", "--no-progress"]);
    command.arg("--csv").arg(csv).arg(format!("--stream={}", place.name));
    command.arg(format!("--msgs={}", load.messages)).arg(format!("--size={}", load.size));
    command.arg(format!("--clients={}", load.publishers));
    Ok(command)
}

async fn finish(mut command: Command, csv: &Path) -> Result<Figures, ToolError> {
    let said = child::run(TOOL, &mut command).await?;
    let rows = tokio::fs::read_to_string(csv).await.unwrap_or_default();
    let _ = tokio::fs::remove_file(csv).await;
    Figures::read(&rows)
        .ok_or_else(|| ToolError::Unreadable { tool: TOOL, output: child::tail(&(said + &rows)) })
}

/// The slowest client's row. Its `MsgCount` has acknowledgements in it, and `MsgBytes` is what was
/// asked for, so how many messages there were is not told.
#[derive(Debug, PartialEq)]
struct Figures {
    seconds: f64,
    latency: Option<Quantiles>,
}

impl Figures {
    fn read(csv: &str) -> Option<Self> {
        let mut lines = csv.lines();
        let names: Vec<_> = lines.next()?.split(',').collect();
        let mut slowest: Option<Self> = None;
        for line in lines {
            let fields: Vec<_> = line.split(',').collect();
            let field = |name: &str| -> Option<f64> {
                let at = names.iter().position(|known| *known == name)?;
                fields.get(at)?.parse().ok()
            };
            let seconds = field("DurationSecs").filter(|seconds| *seconds > 0.0)?;
            let latency = || -> Option<Quantiles> {
                Some(Quantiles {
                    p50: field("P50LatencyMicroSecs")?,
                    p99: field("P99LatencyMicroSecs")?,
                    p999: field("P99.9LatencyMicroSecs")?,
                    max: field("MaxLatencyMicroSecs")?,
                })
            };
            if slowest.as_ref().is_none_or(|slowest| seconds > slowest.seconds) {
                slowest = Some(Self { seconds, latency: latency() });
            }
        }
        slowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_client_decides() {
        let csv = "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs,\
            MinLatencyMicroSecs,AvgLatencyMicroSecs,MaxLatencyMicroSecs,P50LatencyMicroSecs,\
            P90LatencyMicroSecs,P99LatencyMicroSecs,P99.9LatencyMicroSecs,StdDevLatencyMicroSecs\n\
            x,P0,20,1,9,1,1.500000,1,2,9.5,3.5,4,5.5,6.5,1\n\
            x,P1,20,1,9,1,0.500000,1,2,1,1,4,1,1,1\n";
        let latency = Some(Quantiles { p50: 3.5, p99: 5.5, p999: 6.5, max: 9.5 });
        assert_eq!(Figures::read(csv), Some(Figures { seconds: 1.5, latency }));
    }

    #[test]
    fn consuming_has_no_latencies() {
        let csv = "#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs\n\
            x,S0,20,1,9,1,0.250000\n";
        assert_eq!(Figures::read(csv), Some(Figures { seconds: 0.25, latency: None }));
    }

    #[test]
    fn no_figures_are_none() {
        for csv in ["", "#RunID,DurationSecs\n", "#RunID,DurationSecs\nx,0\n", "Oops\n1\n"] {
            assert_eq!(Figures::read(csv), None, "{csv:?}");
        }
    }
}
