//! One backend in one place, in a process of its own: where brokers run is decided once for a
//! process, and its time is nobody else's.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use clap::Args;
use eventbus_conformance::{Outcome, Suite, Verdict};
use test_brokers::{Kafka, Nats, discover};

use super::Place;

/// What came out.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) backend: &'static str,
    pub(super) place: Place,
    /// The broker with its version, if there is one.
    pub(super) broker: Option<String>,
    pub(super) took: Duration,
    pub(super) passed: bool,
    /// By the module and name of a scenario.
    pub(super) cells: BTreeMap<String, String>,
}

pub(super) const PASSED: &str = "passed";
pub(super) const FAILED: &str = "**failed**";
const BROKER: &str = "broker";

pub(super) fn has_broker(backend: &str) -> bool {
    ["nats", "kafka"].iter().any(|broker| backend.starts_with(broker))
}

impl Round {
    pub(super) fn run(backend: &'static str, place: Place) -> io::Result<Self> {
        println!("\n{backend}, {}", place.in_words());
        let directory = env::temp_dir().join(format!("eventbus-matrix-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let to = directory.join(backend);
        let start = Instant::now();
        let status = Command::new(env::current_exe()?)
            .args(["part", backend])
            .arg(&to)
            .env(discover::BROKERS, place.forced())
            .env_remove(discover::NATS_URL)
            .env_remove(discover::KAFKA_BOOTSTRAP)
            .status();
        let took = start.elapsed();
        let text = fs::read_to_string(&to);
        fs::remove_dir_all(&directory)?;
        let (passed, text) = (status?.success(), text?);
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let mut cells: BTreeMap<_, _> =
            lines.map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect();
        let broker = cells.remove(BROKER);
        Ok(Self { backend, place, broker, took, passed, cells })
    }
}

/// One backend of the matrix, for `matrix` itself.
#[derive(Debug, Args)]
pub struct Part {
    backend: String,
    /// Where to write the outcomes.
    to: PathBuf,
}

impl Part {
    /// Runs the suite on this backend and writes the outcomes.
    ///
    /// # Errors
    /// When no broker starts, or the outcomes cannot be written.
    pub fn run(&self, suite: &Suite, program: &str) -> io::Result<ExitCode> {
        let mut text = String::new();
        if let Some(broker) = broker(&self.backend)? {
            text += &format!("{BROKER}\t{broker}\n");
        }
        let (exit, outcomes) = suite.run([program.to_owned(), format!("{}::", self.backend)]);
        for Outcome { scenario, verdict, .. } in &outcomes {
            let (module, name) = (scenario.module(), scenario.name());
            text += &format!("{module}::{name}\t{}\n", cell(verdict));
        }
        fs::write(&self.to, text)?;
        Ok(exit)
    }
}

fn cell(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => PASSED.to_owned(),
        Verdict::Failed(_) => FAILED.to_owned(),
        Verdict::NotApplicable(need) => format!("n/a: {need}"),
    }
}

/// The name and version of the broker that scenarios get.
fn broker(backend: &str) -> io::Result<Option<String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        Ok(match backend {
            _ if !has_broker(backend) => None,
            "kafka" => {
                let kafka = Kafka::start().await.map_err(io::Error::other)?;
                Some(format!("Kafka {}", kafka.version()))
            }
            _ => {
                let nats = Nats::start().await.map_err(io::Error::other)?;
                Some(format!("nats-server {}", nats.version()))
            }
        })
    })
}
