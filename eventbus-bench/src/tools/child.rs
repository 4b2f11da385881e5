//! Running a tool to its end.

use std::{io, process::ExitStatus, process::Stdio, time::Duration};

use eventbus_core::{Error, ErrorKind};
use tokio::{process::Command, time::timeout};

use crate::{Mode, measure::Tool};

/// Longer than any load of a comparison takes.
const PATIENCE: Duration = Duration::from_secs(180);
/// As much of what a tool said as helps.
const TAIL: usize = 300;

/// What can be wrong with a tool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// Nobody said where it is.
    #[error("{tool} is not there; set {variable}, which `test-brokers with … --peers` does")]
    Missing {
        /// The tool.
        tool: Tool,
        /// What to set.
        variable: &'static str,
    },
    /// It cannot be run.
    #[error("{tool} cannot be started; is what the environment variable names a program?")]
    Start {
        /// The tool.
        tool: Tool,
        /// Why not.
        source: io::Error,
    },
    /// It failed.
    #[error("{tool} ended with {status}: {output}")]
    Failed {
        /// The tool.
        tool: Tool,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// It did not end.
    #[error("{tool} did not end within {} s", PATIENCE.as_secs())]
    Endless {
        /// The tool.
        tool: Tool,
    },
    /// It did not say what was expected; perhaps it is of another version.
    #[error("{tool} gave no figures that this program understands: {output}")]
    Unreadable {
        /// The tool.
        tool: Tool,
        /// The end of what it said.
        output: String,
    },
    /// It has no such mode.
    #[error("{tool} cannot measure the mode {mode}")]
    NotMeasured {
        /// The tool.
        tool: Tool,
        /// What it cannot do.
        mode: Mode,
    },
}

impl From<ToolError> for Error {
    fn from(error: ToolError) -> Self {
        let kind = match error {
            ToolError::Missing { .. } | ToolError::Start { .. } => ErrorKind::InvalidConfig,
            ToolError::NotMeasured { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Unexpected,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// Runs a tool to its end and gives what it said on standard output. Cancelled, it is killed.
pub(super) async fn run(tool: Tool, command: &mut Command) -> Result<String, ToolError> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| ToolError::Endless { tool })?
        .map_err(|source| ToolError::Start { tool, source })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = said + &String::from_utf8_lossy(&output.stderr);
    Err(ToolError::Failed { tool, status: output.status, output: tail(&complaint) })
}

/// The end of a text.
pub(super) fn tail(text: &str) -> String {
    let text = text.trim();
    let start = text.len().saturating_sub(TAIL);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[start..].to_owned()
}
