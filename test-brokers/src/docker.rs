//! Whether there is a container engine, and images for it.

use std::env;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::Error;
use crate::discover::{BROKERS, KAFKA_IMAGE, NATS_IMAGE};
use crate::prepare::{KAFKA_VERSION, NATS_SERVER_VERSION};

/// How long an engine may take to answer: without one the tests go on natively.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an image may take to come.
const PULL: Duration = Duration::from_secs(300);

/// An image's name with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image(String);

impl Image {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name and the tag. A colon may also stand before a registry's port.
    pub(crate) fn parts(&self) -> (&str, &str) {
        match self.0.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (&self.0, "latest"),
        }
    }
}

/// The image to start NATS from, or none for a native server.
pub(crate) async fn nats() -> Result<Option<Image>, Error> {
    static CHOSEN: OnceCell<Option<Image>> = OnceCell::const_new();
    choose(&CHOSEN, NATS_IMAGE, "nats", "nats", NATS_SERVER_VERSION).await
}

/// The image to start Kafka from, or none for a native broker.
pub(crate) async fn kafka() -> Result<Option<Image>, Error> {
    static CHOSEN: OnceCell<Option<Image>> = OnceCell::const_new();
    choose(&CHOSEN, KAFKA_IMAGE, "kafka", "apache/kafka", KAFKA_VERSION).await
}

async fn choose(
    chosen: &'static OnceCell<Option<Image>>,
    variable: &'static str,
    broker: &str,
    public: &str,
    version: &str,
) -> Result<Option<Image>, Error> {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let forced = match set(BROKERS).as_deref() {
        Some("native" | "external") => return Ok(None),
        forced => forced == Some("docker"),
    };
    let candidates = match set(variable) {
        Some(image) => vec![Image(image)],
        None => vec![
            Image(format!("{public}:{version}")),
            Image(format!("eventbus-test/{broker}:{version}")),
        ],
    };
    let find = || async {
        let version = match engine().await {
            Ok(version) => version,
            Err(reason) if forced => {
                let what = format!("no container engine answers, and {BROKERS}=docker");
                let reason = format!("{reason}. Start one, or set {BROKERS}=native");
                return Err(Error::Docker { what, reason });
            }
            Err(_) => return Ok(None),
        };
        match image(&candidates).await {
            Ok(image) => {
                eprintln!("test-brokers: Docker {version}, image {}", image.as_str());
                Ok(Some(image))
            }
            Err(reason) if forced => Err(Error::Docker {
                what: format!("no image of {broker}"),
                reason: format!(
                    "{reason}. Set {variable} to one that is there, build one by \
                     `test-brokers/images/build.sh {broker}`, or set {BROKERS}=native"
                ),
            }),
            Err(reason) => {
                eprintln!(
                    "test-brokers: {broker} is going to be native, though Docker {version} answers: {reason}"
                );
                Ok(None)
            }
        }
    };
    chosen.get_or_try_init(find).await.cloned()
}

/// The version of the engine that answers.
async fn engine() -> Result<String, String> {
    docker(&["version", "--format", "{{.Server.Version}}"], ANSWER).await
}

/// The first that is here, or can be had.
async fn image(candidates: &[Image]) -> Result<Image, String> {
    for image in candidates {
        if docker(&["image", "inspect", "--format", "{{.Id}}", &image.0], ANSWER).await.is_ok() {
            return Ok(image.clone());
        }
    }
    let image = &candidates[0];
    eprintln!("test-brokers: pulling {} …", image.0);
    docker(&["pull", "--quiet", &image.0], PULL).await.map(|_| image.clone())
}

/// What the command `docker` printed, or what went wrong.
async fn docker(arguments: &[&str], limit: Duration) -> Result<String, String> {
    let mut command = Command::new("docker");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .map_err(|_| format!("`docker {}` took more than {limit:?}", arguments.join(" ")))?
        .map_err(|error| format!("`docker` cannot be run ({error})"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Where the engine is talked to: a control may be used from any thread, with or
/// without a runtime, and connections belong to the runtime that made them.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("test-brokers-docker")
            .enable_all()
            .build()
            .unwrap_or_else(|error| panic!("no runtime for Docker: {error}"))
    })
}

/// Runs `work` there, and blocks this thread until it is done.
pub(crate) fn wait<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    runtime().spawn(async move {
        // Nobody to receive it: the waiting thread has panicked.
        let _ = sender.send(work.await);
    });
    receiver.recv().unwrap_or_else(|_| panic!("work for Docker panicked, see above"))
}

/// Runs `work` there.
pub(crate) async fn run<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    runtime().spawn(work).await.map_err(|error| Error::Background(error.to_string()))
}
