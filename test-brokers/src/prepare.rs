//! Builds the brokers and their peers ahead of time, once.
//!
//! Starting a broker does it too, where it has not been done. Each function gives
//! where the result is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;
use crate::cache;
use crate::kafka;

/// The version of nats-server that is built.
pub const NATS_SERVER_VERSION: &str = "2.15.2";
/// The version of the `nats` command that is built.
pub const NATS_CLI_VERSION: &str = "0.5.1";

/// The version of toxiproxy that is built.
pub const TOXIPROXY_VERSION: &str = "2.12.0";

/// The version of Kafka that is fetched.
pub const KAFKA_VERSION: &str = "4.1.2";

/// The program `nats-server`.
pub async fn nats_server() -> Result<PathBuf, Error> {
    go_program("nats-server", "github.com/nats-io/nats-server/v2", NATS_SERVER_VERSION).await
}

/// The program `nats`, whose `nats bench` is what comparisons are made with.
pub async fn nats_cli() -> Result<PathBuf, Error> {
    go_program("nats", "github.com/nats-io/natscli/nats", NATS_CLI_VERSION).await
}

/// The program `toxiproxy-server`, which the Go toolchain calls `server`.
pub async fn toxiproxy() -> Result<PathBuf, Error> {
    let name = format!("toxiproxy-{TOXIPROXY_VERSION}");
    go_built(name, "github.com/Shopify/toxiproxy/v2/cmd/server", TOXIPROXY_VERSION, "server").await
}

async fn go_program(
    program: &'static str,
    package: &'static str,
    version: &'static str,
) -> Result<PathBuf, Error> {
    go_built(format!("{program}-{version}"), package, version, program).await
}

/// `program` is what the Go toolchain calls it: the last part of the package's path.
async fn go_built(
    name: String,
    package: &'static str,
    version: &'static str,
    program: &'static str,
) -> Result<PathBuf, Error> {
    blocking(move || {
        let directory = cache::get_or_build(&name, |made| {
            go_install(&name, &format!("{package}@v{version}"), made)
        })?;
        Ok(directory.join(program))
    })
    .await
}

fn go_install(name: &str, package: &str, into: &Path) -> Result<(), Error> {
    let mut go = Command::new("go");
    go.args(["install", "-trimpath", package])
        // A module's own directory could otherwise decide the versions.
        .current_dir(into)
        .env("GOBIN", into)
        .env("GOTMPDIR", into)
        .env("CGO_ENABLED", "0")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    cache::run_tool(name, &mut go, |source| Error::MissingTool {
        program: "go",
        install: "Go 1.26 or newer, which builds nats-server and toxiproxy",
        instead: "EVENTBUS_TEST_NATS_URL to the URL of a running server",
        source,
    })
}

/// The class path of Kafka: the broker, and tools such as
/// `org.apache.kafka.tools.ProducerPerformance`.
pub async fn kafka_class_path() -> Result<OsString, Error> {
    Ok(kafka::install().await?.class_path())
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Background(error.to_string()))?
}
