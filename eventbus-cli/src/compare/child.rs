//! One measurement in a process of its own, so that tasks, memory and leaks are of that
//! measurement alone.

use std::{
    future::Future,
    io::{self, BufRead, Read},
    pin::pin,
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use clap::Args;
use eventbus::Error;
use eventbus_bench::{Job, Sample, measure as measure_here, tidy_up};
use tokio::{
    io::AsyncWriteExt,
    process::{ChildStdin, Command},
    sync::oneshot,
    time::timeout,
};

use crate::{
    exit::{Exit, Failure, complain},
    interrupt::Interrupt,
};

/// The name of the command that the children run.
const COMMAND: &str = "compare-one";

/// How long a child may take to end after it was told to; then it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// How long the broker may take to remove what a child left.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);

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

/// Measures a job in a child. After Ctrl-C the child is ended, and there is no answer. What a child
/// that did not come to its end has made at the broker is removed. Cancelled, the child is killed.
pub(super) async fn measure(job: &Job, interrupt: &Interrupt) -> Option<Answer> {
    let job = job.clone().in_a_place_of_its_own();
    let ended = in_a_child(&job, interrupt).await;
    if !matches!(ended, Some(Ok(_))) {
        remove_what_is_left(&job).await;
    }
    ended.map(Result::flatten)
}

/// The answer of a child, or how it was lost; `None` after Ctrl-C.
async fn in_a_child(job: &Job, interrupt: &Interrupt) -> Option<Result<Answer, String>> {
    let (stdin, output) = match start(job).await {
        Ok(started) => started,
        Err(error) => return Some(Err(error)),
    };
    let mut output = pin!(output);
    tokio::select! {
        output = &mut output => Some(output.map_err(lost).and_then(|output| answer(&output))),
        () = interrupt.requested() => {
            // The child takes it for the end of this process: it kills the tool that it runs, and ends.
            drop(stdin);
            let _ = timeout(ENDS_WITHIN, output).await;
            None
        }
    }
}

/// A child with its job, and its output once it has ended; dropped before, it is killed.
async fn start(
    job: &Job,
) -> Result<(Option<ChildStdin>, impl Future<Output = io::Result<Output>> + use<>), String> {
    let mut command = Command::new(std::env::current_exe().map_err(lost)?);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    // Ctrl-C is for this process.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(lost)?;
    let mut line =
        serde_json::to_vec(job).map_err(|error| format!("the job is no JSON: {error}"))?;
    line.push(b'\n');
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &mut stdin {
        // A child that has died already says so at its end.
        let _ = stdin.write_all(&line).await;
    }
    Ok((stdin, child.wait_with_output()))
}

fn answer(output: &Output) -> Result<Answer, String> {
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("the measuring process ended with {}: {}", output.status, said.trim())
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn lost(error: io::Error) -> String {
    format!("the measuring process is lost: {error}")
}

/// Removes what a measurement that did not come to its end has made at the broker.
async fn remove_what_is_left(job: &Job) {
    let why = match timeout(REMOVED_WITHIN, tidy_up(job)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => with_causes(&error),
        Err(_) => format!("the broker did not answer within {REMOVED_WITHIN:?}"),
    };
    let place = job.place.as_deref().unwrap_or_default();
    complain(&format!(
        "warning: what was made on {} for a measurement may be left; its name has {place} in it: \
         {why}",
        job.backend
    ));
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
