//! Runs a command with real brokers, or builds them ahead of time.

mod with;

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueEnum};
use test_brokers::{Error, prepare};

/// What this program's own failures end with, as with `env` and `nohup`: the
/// command has most other statuses for itself.
const FAILED: i32 = 125;

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start brokers, run a command, stop the brokers.
    ///
    /// The command gets EVENTBUS_NATS_URL (nats://127.0.0.1:…) and
    /// EVENTBUS_KAFKA_URL (kafka://127.0.0.1:…); with --peers also
    /// EVENTBUS_PEER_NATS_CLI, the path of the `nats` command, and
    /// EVENTBUS_PEER_KAFKA_CP, the class path of Kafka's tools. Its exit status is
    /// this program's; 125 to 127 mean that it could not be run.
    ///
    /// A broker that EVENTBUS_TEST_NATS_URL or EVENTBUS_TEST_KAFKA_BOOTSTRAP names
    /// is used instead of a new one. A new one runs in a container where an engine
    /// answers and an image can be had, and natively otherwise.
    /// EVENTBUS_TEST_BROKERS=docker|native|external forces one of them.
    #[command(after_help = "\
Examples:
  test-brokers with nats -- cargo test -p eventbus-nats
  test-brokers with nats kafka --peers -- cargo bench
  test-brokers with nats -- sh -c 'echo $EVENTBUS_NATS_URL'")]
    With {
        /// Which brokers.
        #[arg(required = true)]
        brokers: Vec<Broker>,
        /// Also build the brokers' own tools.
        #[arg(long)]
        peers: bool,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Build what the brokers need, so that starting them takes no time.
    #[command(after_help = "\
Examples:
  test-brokers prepare                 all brokers
  test-brokers prepare nats --peers    nats-server and the `nats` command")]
    Prepare {
        /// Which brokers: all of them by default.
        brokers: Vec<Broker>,
        /// Also build the brokers' own tools.
        #[arg(long)]
        peers: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Broker {
    Nats,
    Kafka,
}

fn main() {
    let arguments = Arguments::parse();
    let status = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            eprintln!("test-brokers: no runtime: {error}");
            FAILED
        }
    };
    // Not by returning, which would wait for a build that was interrupted.
    std::process::exit(status);
}

async fn run(arguments: Arguments) -> i32 {
    let done = match arguments.action {
        Action::With { brokers, peers, command } => with::run(&brokers, peers, &command).await,
        Action::Prepare { brokers, peers } => prepare(&brokers, peers).await.map(|()| 0),
    };
    done.unwrap_or_else(|error| {
        eprintln!("test-brokers: {error}");
        FAILED
    })
}

async fn prepare(brokers: &[Broker], peers: bool) -> Result<(), Error> {
    let brokers = if brokers.is_empty() { Broker::value_variants() } else { brokers };
    for broker in brokers {
        match broker {
            Broker::Nats => {
                let program = prepare::nats_server().await?;
                eprintln!("test-brokers: nats-server is {}", program.display());
                if peers {
                    let program = prepare::nats_cli().await?;
                    eprintln!("test-brokers: nats is {}", program.display());
                }
            }
            // Its tools are in the same jars.
            Broker::Kafka => {
                let path = prepare::kafka_class_path().await?;
                eprintln!("test-brokers: Kafka's class path is {}", path.display());
            }
        }
    }
    Ok(())
}
