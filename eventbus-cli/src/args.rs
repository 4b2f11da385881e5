//! The command line.

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "bench")]
use crate::{
    bench::BenchArgs,
    compare::{CompareArgs, OneArgs},
};
use crate::{
    demo::DemoArgs, info::InfoArgs, pipe::PipeArgs, publish::PubArgs, replay::RunArgs,
    subscribe::SubArgs,
};

const EXAMPLES: &str = "\
Examples:
  eventbus demo                                see what it does, in ten seconds
  eventbus run events.jsonl                    publish a file and consume it again
  eventbus pub orders.created '{\"id\":42}'      publish one event
  eventbus sub 'orders.>' --group billing      consume as a group, printing each event
  eventbus pipe --from nats://a --to kafka://b 'orders.>'     copy from one bus to another
  eventbus info --url memory://                what a backend can do, and how it is

Exit codes:
  0    done
  1    failed, or some events were not stored
  2    usage or configuration: argument, URL, topic, input, credentials
  3    the broker cannot be reached
  130  interrupted (Ctrl-C) before it was done; again: at once

Environment:
  EVENTBUS_URL   the bus, unless --url is given
  EVENTBUS_LOG   what to log on standard error, such as `debug` or `eventbus_core=trace`
  NO_COLOR       no colours (there are none unless the output is a terminal)";

const HEADING: &str = "Options of every command";

/// One event bus for memory, NATS JetStream and Kafka: try it, publish, consume, measure.
#[derive(Debug, Parser)]
#[command(name = "eventbus", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The bus: `memory://` lives in this process; parameters follow `?`, such as
    /// `memory://?max_in_flight=1000&ack_timeout=2s` [default: memory://]
    #[arg(
        long,
        global = true,
        help_heading = HEADING,
        value_name = "URL",
        env = "EVENTBUS_URL",
        hide_env_values = true
    )]
    url: Option<String>,
    /// Print JSON for programs instead of text.
    #[arg(long, global = true, help_heading = HEADING)]
    pub(crate) json: bool,
}

impl Global {
    /// The URL of the bus.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or("memory://")
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show in ten seconds what an event bus promises, and that it keeps it.
    Demo(DemoArgs),
    /// Publish a file of JSON events, consume them again, and check what came.
    Run(RunArgs),
    /// Publish events from the command line or from JSON lines on standard input.
    Pub(PubArgs),
    /// Print events as they come, acknowledging each after it was printed.
    Sub(SubArgs),
    /// Copy topics from one bus to another, in order per key, and go on where it stopped.
    Pipe(PipeArgs),
    /// Tell what a backend can do and how it is.
    Info(InfoArgs),
    /// Measure throughput, latencies, tasks and memory.
    #[cfg(feature = "bench")]
    Bench(BenchArgs),
    /// Measure the backends side by side, with their raw clients and the brokers' own tools.
    #[cfg(feature = "bench")]
    Compare(CompareArgs),
    /// Measure one job of `compare`.
    #[cfg(feature = "bench")]
    #[command(hide = true)]
    CompareOne(OneArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
