//! Kafka's jars, and an empty store to copy.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive;
use super::properties::Properties;
use crate::prepare::{self, KAFKA_VERSION};
use crate::{Error, cache};

/// What fetches the jars.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// In Kafka's notation. One will do: nobody knows the ports of another cluster.
pub(super) const CLUSTER_ID: &str = "dGVzdC1icm9rZXJzLTAwMQ";

/// Kafka, fetched once.
#[derive(Debug)]
pub(crate) struct Install {
    directory: PathBuf,
    /// What the JVM of a broker is told of an archive of classes.
    archive: Option<OsString>,
}

/// Fetches Kafka, unless that is done.
pub(crate) async fn install() -> Result<Install, Error> {
    prepare::blocking(|| {
        let name = format!("kafka-{KAFKA_VERSION}");
        let directory = cache::get_or_build(&name, |made| {
            fetch(&name, made)?;
            template(made)
        })?;
        let install = Install { directory, archive: None };
        let archive = archive::option(&name, &install)?;
        Ok(Install { archive, ..install })
    })
    .await
}

impl Install {
    /// The broker and its tools.
    pub(crate) fn class_path(&self) -> OsString {
        class_path(&self.directory)
    }

    /// The same, whose brokers have this option about an archive.
    pub(super) fn with_option(&self, archive: OsString) -> Self {
        Self { directory: self.directory.clone(), archive: Some(archive) }
    }

    /// The broker in `directory`, compiled fully or soon.
    pub(super) fn broker(&self, directory: &Path, full_speed: bool) -> Command {
        let mut command = java(directory, &self.class_path());
        command
            .args(&self.archive)
            .args(quick(full_speed))
            .args(JVM)
            .args(["kafka.Kafka", "server.properties"]);
        command
    }

    /// Makes `store` the store of a new broker, unless it is one already. Copying
    /// takes no time; a JVM to do it, which only users need, takes as long as the
    /// broker's. `directory` has the broker's `server.properties`.
    pub(super) fn format(
        &self,
        store: &Path,
        id: usize,
        directory: &Path,
        users: &[String],
    ) -> Result<(), Error> {
        // The last file that is written: it says that the store is there.
        let last = store.join("meta.properties");
        if last.exists() {
            return Ok(());
        }
        fs::create_dir_all(store).map_err(Error::io("cannot create", store))?;
        if !users.is_empty() {
            return format(directory, &self.class_path(), "server.properties", users);
        }
        let checkpoint = "bootstrap.checkpoint";
        let (from, to) = (self.directory.join("store").join(checkpoint), store.join(checkpoint));
        fs::copy(from, &to).map_err(Error::io("cannot create", to))?;
        let directory_id = directory_id();
        let text = format!(
            "version=1\ncluster.id={CLUSTER_ID}\nnode.id={id}\ndirectory.id={directory_id}\n"
        );
        fs::write(&last, text).map_err(Error::io("cannot write", last))
    }
}

/// In Kafka's notation, which begins with no dash.
fn directory_id() -> String {
    let random = || RandomState::new().hash_one(0).to_be_bytes();
    let mut bytes = [random(), random()].concat();
    bytes[0] &= 0x7f;
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

/// As Kafka's own start script has them, but for the initial heap.
pub(super) const JVM: [&str; 10] = [
    "-server",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
];

/// Compiles little: a broker of a test is gone before the rest has paid off.
const QUICK: [&str; 1] = ["-XX:TieredStopAtLevel=1"];

/// What makes a broker start sooner, unless it is to run at full speed.
pub(super) fn quick(full_speed: bool) -> &'static [&'static str] {
    if full_speed { &[] } else { &QUICK }
}

/// Java in `directory`, which must exist and gets all that Java leaves.
fn java(directory: &Path, class_path: &OsStr) -> Command {
    let mut command = Command::new("java");
    command
        .current_dir(directory)
        .arg("-XX:-UsePerfData")
        .arg("-Djava.io.tmpdir=.")
        .arg("-cp")
        .arg(class_path);
    command
}

fn class_path(install: &Path) -> OsString {
    let mut path = install.join("lib/*").into_os_string();
    path.push(":");
    path.push(install.join("conf"));
    path
}

/// Maven resolves what Kafka depends on; that it may log needs one jar more.
fn fetch(name: &str, into: &Path) -> Result<(), Error> {
    let pom = format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test-brokers</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-tools</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"#
    );
    write(&into.join("pom.xml"), &pom)?;
    let log = into.join("conf/simplelogger.properties");
    write(&log, "org.slf4j.simpleLogger.defaultLogLevel=warn\n")?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--batch-mode", "--quiet", COPY])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=lib"])
        .current_dir(into);
    cache::run_tool(name, &mut maven, |source| Error::MissingTool {
        program: "mvn",
        install: "Maven, which fetches Kafka",
        instead: "EVENTBUS_TEST_KAFKA_BOOTSTRAP to the address of a running broker",
        source,
    })
}

/// Makes what is in the store of a new broker. It depends on no port.
fn template(install: &Path) -> Result<(), Error> {
    let text = Properties {
        index: 0,
        controllers: &[1],
        client: 2,
        advertised: 2,
        internal: 3,
        address: "127.0.0.1",
        protocol: "PLAINTEXT",
        store: Path::new("store"),
    }
    .to_text();
    write(&install.join("format.properties"), &text)?;
    format(install, &class_path(install), "format.properties", &[])
}

/// Runs Kafka's own tool, in `directory`.
fn format(
    directory: &Path,
    class_path: &OsStr,
    properties: &str,
    arguments: &[String],
) -> Result<(), Error> {
    let mut tool = java(directory, class_path);
    tool.args(["kafka.tools.StorageTool", "format"])
        .args(["--cluster-id", CLUSTER_ID])
        .args(["--config", properties])
        .args(arguments);
    cache::run_tool("Kafka's store", &mut tool, |source| Error::MissingTool {
        program: "java",
        install: "Java 17 or newer, which runs Kafka",
        instead: "EVENTBUS_TEST_KAFKA_BOOTSTRAP to the address of a running broker",
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(Error::io("cannot create", directory))?;
    }
    fs::write(path, text).map_err(Error::io("cannot write", path))
}
