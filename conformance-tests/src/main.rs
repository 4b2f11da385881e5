//! `matrix` runs the suite on all backends and writes `docs/conformance.md`; `faults` breaks
//! brokers for as long as wanted; `soak` watches for what grows; `pipe` copies under faults.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conformance_tests::{faults, matrix, pipe, soak, suite};

/// The long runs of the conformance tests.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the suite on all backends, with native brokers and with brokers in containers, and
    /// writes docs/conformance.md.
    Matrix(matrix::Options),
    #[command(hide = true)]
    Part(matrix::Part),
    /// Breaks brokers under a workload and checks what came out.
    Faults(faults::Options),
    /// Watches what the process uses under load and churn.
    Soak(soak::Options),
    /// Copies NATS to Kafka to NATS with each broker killed on the way, and checks what arrived.
    Pipe(pipe::Options),
}

fn main() -> ExitCode {
    let suite = suite();
    if let Some(exit) = suite.run_alone() {
        return exit;
    }
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(exit) = faults::run_member(&arguments[1..]) {
        return exit;
    }
    match Arguments::parse().command {
        Command::Matrix(options) => told(matrix::run(&suite, &options)),
        Command::Part(part) => told(part.run(&suite, &arguments[0])),
        Command::Faults(options) => run(faults::run(options)),
        Command::Soak(options) => run(soak::run(options)),
        Command::Pipe(options) => run(pipe::run(options)),
    }
}

fn told(exit: std::io::Result<ExitCode>) -> ExitCode {
    exit.unwrap_or_else(|error| {
        eprintln!("the matrix cannot be made: {error}");
        ExitCode::FAILURE
    })
}

/// Runs to the end; a false outcome is a broken promise.
fn run(work: impl Future<Output = eventbus_conformance::Result<bool>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}
