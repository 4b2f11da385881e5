//! One measurement in a process of its own, so that tasks, memory and leaks are of that
//! measurement alone.

use std::{
    io::{self, Read},
    process::Stdio,
};

use clap::Args;
use eventbus::Error;
use eventbus_bench::{Job, Sample, measure as measure_here};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::exit::{Exit, Failure};

/// The name of the command that the children run.
const COMMAND: &str = "compare-one";

/// Measures the job on standard input and prints the sample; `compare` runs it.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {}

/// What a child prints.
type Answer = Result<Sample, String>;

pub(crate) async fn run_one(_: &OneArgs) -> Result<Exit, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    let job: Job = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("standard input is no job: {error}")))?;
    let answer: Answer =
        measure_here(&job, &eventbus::registry()).await.map_err(|error| with_causes(&error));
    let line = serde_json::to_string(&answer)
        .map_err(|error| Failure::failed(format!("the sample is no JSON: {error}")))?;
    println!("{line}");
    Ok(Exit::Done)
}

/// Measures a job in a child. Cancelled, the child is killed.
pub(super) async fn measure(job: &Job) -> Answer {
    let lost = |error: io::Error| format!("the measuring process is lost: {error}");
    let mut command = Command::new(std::env::current_exe().map_err(lost)?);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    // Ctrl-C is for this process: the child ends what it does, and tidies up.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(lost)?;
    let text = serde_json::to_vec(job).map_err(|error| format!("the job is no JSON: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that has died already says so below.
        let _ = stdin.write_all(&text).await;
    }
    let output = child.wait_with_output().await.map_err(lost)?;
    serde_json::from_slice::<Answer>(&output.stdout).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the measuring process ended with {}: {}", output.status, said.trim()))
    })
}

/// An error and what caused it, on one line.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
