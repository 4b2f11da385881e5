//! The brokers' own tools, run as child processes.

mod child;
mod kafka_perf;
mod nats_bench;

use eventbus_core::Error;

use crate::measure::{Job, Place, Sample, Tool};
pub use child::ToolError;

/// Whether the tool is there: the variable that names it is set.
#[must_use]
pub fn is_there(tool: Tool) -> bool {
    std::env::var_os(variable(tool)).is_some()
}

/// The environment variable that says where the tool is.
#[must_use]
pub const fn variable(tool: Tool) -> &'static str {
    match tool {
        Tool::NatsBench | Tool::NatsBenchFast => "EVENTBUS_PEER_NATS_CLI",
        Tool::KafkaPerf => "EVENTBUS_PEER_KAFKA_CP",
    }
}

/// The version that the tool tells about itself.
///
/// # Errors
/// That the tool is not there, or cannot be run.
pub async fn version(tool: Tool) -> Result<String, Error> {
    let output = match tool {
        Tool::NatsBench | Tool::NatsBenchFast => {
            nats_bench::command()?.arg("--version").output().await
        }
        Tool::KafkaPerf => return Ok(kafka_perf::version()),
    };
    let output = output.map_err(|source| ToolError::Start { tool, source })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) async fn measure(tool: Tool, job: &Job, place: &Place) -> Result<Sample, Error> {
    match tool {
        Tool::NatsBench => Ok(nats_bench::measure(job, place).await?),
        Tool::NatsBenchFast => Ok(nats_bench::measure_fast(job, place).await?),
        Tool::KafkaPerf => Ok(kafka_perf::measure(job, place).await?),
    }
}
