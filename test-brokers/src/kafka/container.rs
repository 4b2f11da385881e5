//! How Kafka is run in a container of the public image, or of one like it.

use std::fs;
use std::path::Path;

use super::install::{CLUSTER_ID, JVM, quick};
use crate::Error;
use crate::container::Recipe;
use crate::docker::Image;

/// Where the public image has its jars.
const JARS: &str = "/opt/kafka/libs";

/// A file in the broker's directory.
const VERSION: &str = "version";

/// The broker as in a process: by the jars and the same properties, not by what
/// the image's own scripts make of its environment. `directory` has them.
pub(super) fn recipe(
    image: Image,
    directory: &Path,
    store: &Path,
    users: &[String],
    ports: Vec<u16>,
    full_speed: bool,
) -> Recipe {
    // `$1` is the directory, `$2` the store, and the rest are arguments of `format`.
    let script = format!(
        r#"set -e
cd "$1"
for jar in {JARS}/kafka-clients-*.jar; do
    jar=${{jar##*/kafka-clients-}}
    echo "${{jar%.jar}}" >{VERSION}
done
store=$2
shift 2
run() {{ exec java -XX:-UsePerfData -Djava.io.tmpdir=. -cp '{JARS}/*' "$@" >>kafka.log 2>&1; }}
[ -e "$store/meta.properties" ] || (run kafka.tools.StorageTool format \
    --cluster-id {CLUSTER_ID} --config server.properties "$@")
run {} kafka.Kafka server.properties
"#,
        [quick(full_speed), &JVM].concat().join(" ")
    );
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec!["-c".to_owned(), script, "kafka".to_owned()];
    arguments.extend([path(directory), path(store)]);
    arguments.extend_from_slice(users);
    Recipe {
        image,
        entrypoint: Some("/bin/sh"),
        arguments,
        directories: vec![directory.to_owned(), store.to_owned()],
        ports,
    }
}

/// What a broker that was started in `directory` says its version is.
pub(super) fn version(directory: &Path) -> Result<String, Error> {
    let file = directory.join(VERSION);
    let text = fs::read_to_string(&file).map_err(Error::io("cannot read", file))?;
    Ok(text.trim().to_owned())
}
