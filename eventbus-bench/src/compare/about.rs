//! What is compared: versions, what an acknowledgement means, and where settings differ.

use std::collections::BTreeSet;

use eventbus_core::{BusUrl, Envelope};

use super::{Party, Plan};
use crate::{Job, Measured, Mode, tools};

/// Who takes part in `plan`.
pub async fn parties(plan: &Plan) -> Vec<Party> {
    let mut parties: Vec<Party> = Vec::new();
    for job in plan.cells.iter().flat_map(|cell| &cell.jobs) {
        if parties.iter().all(|party| party.name != job.party()) {
            let version = version(job).await;
            parties.push(Party::new(job.party(), version, durability(&job.backend)));
        }
    }
    parties
}

async fn version(job: &Job) -> String {
    let own = match job.measured {
        Measured::Bus => format!("eventbus {}", env!("CARGO_PKG_VERSION")),
        Measured::Client | Measured::Strategy(_) => "the client that the bus uses".to_owned(),
        Measured::Tool(tool) => match tools::version(tool).await {
            Ok(version) => format!("{tool} {version}").trim().to_owned(),
            Err(error) => error.to_string(),
        },
    };
    match broker_version(job).await {
        Some(broker) => format!("{own}, {broker}"),
        None => own,
    }
}

async fn broker_version(job: &Job) -> Option<String> {
    let url: BusUrl = job.url.parse().ok()?;
    match url.scheme() {
        #[cfg(feature = "nats")]
        "nats" => match crate::raw::nats::server_version(url.authority()).await {
            Ok(version) => Some(format!("nats-server {version}")),
            Err(_) => None,
        },
        #[cfg(feature = "kafka")]
        "kafka" if !matches!(job.measured, Measured::Tool(_)) => {
            Some(format!("librdkafka {}", crate::raw::kafka::library_version()))
        }
        _ => None,
    }
}

fn durability(backend: &str) -> &'static str {
    match backend {
        "memory" => "none: acknowledged when it is in this process, lost with it",
        "nats" => {
            "a stream in file storage with 1 replica; the server syncs to disk at its \
             `sync_interval`, not per message"
        }
        "kafka" => {
            "acks=all, idempotent; replicas as the broker creates topics; flushed to disk by \
             the operating system, not per message"
        }
        _ => "as its broker says",
    }
}

/// What a reader must know to compare the rows of `plan`.
#[must_use]
pub fn warnings(plan: &Plan) -> Vec<String> {
    let jobs: Vec<&Job> = plan.cells.iter().flat_map(|cell| &cell.jobs).collect();
    let backends: BTreeSet<_> = jobs.iter().map(|job| job.backend.as_str()).collect();
    let any = |measured: fn(&Measured) -> bool| jobs.iter().any(|job| measured(&job.measured));
    let mut warnings = Vec::new();
    if cfg!(debug_assertions) {
        warnings.push("this is a debug build: build with --release to measure".to_owned());
    }
    if backends.contains("memory") && backends.len() > 1 {
        warnings.push(
            "memory keeps nothing: it shows what the bus costs, not what a broker could do"
                .to_owned(),
        );
    }
    if backends.len() > usize::from(backends.contains("memory")) {
        warnings.push(
            "the brokers run on this machine and share its processors with the clients".to_owned(),
        );
    }
    if any(|measured| matches!(measured, Measured::Client | Measured::Strategy(_))) {
        warnings.push(
            "the raw clients send the same bytes as the bus, copies of one message made beforehand, \
             so the difference is what making envelopes and the engine cost"
                .to_owned(),
        );
    }
    for backend in &backends {
        let of = |job: &&&Job| job.backend == *backend;
        let servers = jobs.iter().filter(of).map(|job| job.url.split('?').next());
        let several = servers.collect::<BTreeSet<_>>().len() > 1;
        if several && jobs.iter().filter(of).any(|job| job.measured != Measured::Bus) {
            warnings.push(format!(
                "clients and tools of {backend} are measured on the servers of its first bus alone"
            ));
        }
    }
    let kafka = |measured| {
        let jobs =
            jobs.iter().filter(move |job| job.backend == "kafka" && job.measured == measured);
        jobs.map(|job| job.url.as_str()).collect::<BTreeSet<_>>()
    };
    if kafka(Measured::Bus).len() > 1 && !kafka(Measured::Client).is_empty() {
        warnings.push(
            "the raw Kafka client has the librdkafka properties (`rdkafka.*`) of the first Kafka \
             bus alone"
                .to_owned(),
        );
    }
    if any(|measured| matches!(measured, Measured::Tool(_))) {
        warnings.push(format!(
            "the tools send the bare payload; the bus sends an envelope of id, type, key and \
             times around it, about {} bytes more",
            envelope_bytes()
        ));
    }
    if any(|measured| matches!(measured, Measured::Tool(_))) {
        warnings.push(tools_differ(&jobs));
    }
    warnings
}

fn tools_differ(jobs: &[&Job]) -> String {
    let batches: BTreeSet<_> = jobs
        .iter()
        .filter(|job| matches!(job.measured, Measured::Tool(_)))
        .filter(|job| matches!(job.load.mode, Mode::Async | Mode::Consume))
        .map(|job| format!("{} {} {}", job.party(), job.load.mode, job.tool_batch))
        .collect();
    format!(
        "tools are processes of their own, whose tasks and memory are not seen; they send or \
         ask for a batch at a time, at the size that was best here ({}), where the bus has a \
         sliding window of {}",
        batches.into_iter().collect::<Vec<_>>().join(", "),
        jobs.first().map_or(0, |job| job.window),
    )
}

/// How many bytes an envelope of a load has besides its payload.
fn envelope_bytes() -> usize {
    let envelope = Envelope::new("bench.message", Vec::new()).key("key-10");
    envelope.encoded_len()
}
