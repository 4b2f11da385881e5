//! The `eventbus` program: try, publish to, consume from, inspect and measure an event bus.

mod args;
mod connect;
mod demo;
mod event;
mod exit;
mod info;
mod input;
mod interrupt;
mod mode;
mod output;
mod pipe;
mod progress;
mod publish;
mod publishing;
mod replay;
mod start;
mod subscribe;
mod tasks;
mod verdict;

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "bench")]
mod compare;

use std::{io, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command};
use exit::{Exit, Failure};
use interrupt::Interrupt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let json = cli.global.json;
    let exit = run(cli).unwrap_or_else(|failure| failure.report(json));
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the runtime does not start: {error}")))?;
    let outcome = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        dispatch(cli, &interrupt).await
    });
    // A thread may be reading standard input, which nothing can interrupt.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(cli: Cli, interrupt: &Interrupt) -> Result<Exit, Failure> {
    let global = cli.global;
    match cli.command {
        // These three end gracefully by themselves.
        Command::Pub(args) => publish::run(&global, args, interrupt).await,
        Command::Sub(args) => subscribe::run(&global, args, interrupt).await,
        Command::Pipe(args) => pipe::run(&global, args, interrupt).await,
        Command::Demo(args) => interrupt.or(demo::run(&global, &args)).await,
        Command::Run(args) => interrupt.or(replay::run(&global, &args)).await,
        Command::Info(args) => interrupt.or(info::run(&global, &args)).await,
        #[cfg(feature = "bench")]
        Command::Bench(args) => interrupt.or(bench::run(&global, &args)).await,
        #[cfg(feature = "bench")]
        Command::Compare(args) => compare::run(&global, &args, interrupt).await,
        #[cfg(feature = "bench")]
        Command::CompareOne(args) => interrupt.or(compare::run_one(&args)).await,
    }
}

/// Logs go to standard error; `EVENTBUS_LOG` says which.
fn start_logging() {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::WARN.into())
        .with_env_var("EVENTBUS_LOG")
        .from_env_lossy();
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .init();
}
