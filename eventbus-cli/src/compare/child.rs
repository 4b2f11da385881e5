//! One measurement in a process of its own, so that tasks, memory and leaks are of that
//! measurement alone.

use std::{io::Read, process::Stdio};

use clap::Args;
use eventbus::{Error, ErrorKind};
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
pub(super) async fn measure(job: &Job) -> Result<Sample, Error> {
    let unexpected = |message: &str| Error::new(ErrorKind::Unexpected, message.to_owned());
    let program = std::env::current_exe()
        .map_err(|error| unexpected("this program cannot find itself").with_source(error))?;
    let mut command = Command::new(program);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    // Ctrl-C is for this process: the child ends what it does, and tidies up.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command
        .spawn()
        .map_err(|error| unexpected("the measuring process does not start").with_source(error))?;
    let text = serde_json::to_vec(job)
        .map_err(|error| unexpected("the job is no JSON").with_source(error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that has died already says so below.
        let _ = stdin.write_all(&text).await;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| unexpected("the measuring process is lost").with_source(error))?;
    let answer = serde_json::from_slice::<Answer>(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        unexpected(&format!("the measuring process ended with {}: {said}", output.status))
    })?;
    answer.map_err(|message| unexpected(&message))
}

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
