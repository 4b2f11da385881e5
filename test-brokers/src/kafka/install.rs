//! Kafka's jars, and an empty store to copy.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::properties;
use crate::prepare::{self, KAFKA_VERSION};
use crate::{Error, cache};

/// What fetches the jars.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// In Kafka's notation. One will do: no node ever meets one of another cluster.
const CLUSTER_ID: &str = "dGVzdC1icm9rZXJzLTAwMQ";

/// Kafka, fetched once.
#[derive(Debug)]
pub(crate) struct Install(PathBuf);

/// Fetches Kafka, unless that is done.
pub(crate) async fn install() -> Result<Install, Error> {
    prepare::blocking(|| {
        let name = format!("kafka-{KAFKA_VERSION}");
        cache::get_or_build(&name, |made| {
            fetch(&name, made)?;
            format(made)
        })
        .map(Install)
    })
    .await
}

impl Install {
    /// The broker and its tools.
    pub(crate) fn class_path(&self) -> OsString {
        class_path(&self.0)
    }

    /// Makes `store` the store of a new broker, unless it is one already. Copying
    /// takes no time; a JVM to do it takes as long as the broker's.
    pub(super) fn format(&self, store: &Path) -> Result<(), Error> {
        let template = self.0.join("store");
        fs::create_dir_all(store).map_err(Error::io("cannot create", store))?;
        // The last one says that the store is there.
        for file in ["bootstrap.checkpoint", "meta.properties"] {
            let copy = store.join(file);
            if store.join("meta.properties").exists() {
                break;
            }
            fs::copy(template.join(file), &copy).map_err(Error::io("cannot create", copy))?;
        }
        Ok(())
    }
}

/// Java in `directory`, which must exist and gets all that Java leaves.
pub(super) fn java(directory: &Path, class_path: &OsStr) -> Command {
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

/// Makes the store that new brokers get a copy of. It depends on no port.
fn format(install: &Path) -> Result<(), Error> {
    let properties = install.join("format.properties");
    write(&properties, &properties::text(1, 2, Path::new("store")))?;
    let mut tool = java(install, &class_path(install));
    tool.args(["kafka.tools.StorageTool", "format"])
        .args(["--cluster-id", CLUSTER_ID])
        .args(["--config", "format.properties"]);
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
