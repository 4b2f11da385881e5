//! One measurement in a process of its own, so that tasks, memory and leaks are of that
//! measurement alone.

use std::{
    io::{self, BufRead, Read},
    process::Stdio,
    thread,
};

use clap::Args;
use eventbus::Error;
use eventbus_bench::{Job, Sample, measure as measure_here};
use tokio::{io::AsyncWriteExt, process::Command, sync::oneshot};

use crate::exit::{Exit, Failure};

/// The name of the command that the children run.
const COMMAND: &str = "compare-one";

/// Measures the job on standard input and prints the sample; `compare` runs it. It ends when
/// standard input does.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {}

/// What a child prints.
type Answer = Result<Sample, String>;

pub(crate) async fn run_one(_: &OneArgs) -> Result<Exit, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .read_line(&mut text)
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    let job: Job = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("standard input is no job: {error}")))?;
    let registry = eventbus::registry();
    let answer: Answer = tokio::select! {
        measured = measure_here(&job, &registry) => measured.map_err(|error| with_causes(&error)),
        () = parent_gone() => return Err(Failure::failed("nobody wants the sample any more")),
    };
    let line = serde_json::to_string(&answer)
        .map_err(|error| Failure::failed(format!("the sample is no JSON: {error}")))?;
    println!("{line}");
    Ok(Exit::Done)
}

/// Resolves when standard input ends. The parent holds it open for as long as it lives, however
/// it dies.
async fn parent_gone() {
    let (gone, told) = oneshot::channel();
    // On a thread of its own: nothing can interrupt such a read.
    thread::spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    let _ = told.await;
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
    let mut line =
        serde_json::to_vec(job).map_err(|error| format!("the job is no JSON: {error}"))?;
    line.push(b'\n');
    // Held until the child has ended, which takes its end for the end of this process.
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &mut stdin {
        // A child that has died already says so below.
        let _ = stdin.write_all(&line).await;
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
