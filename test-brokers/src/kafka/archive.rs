//! An archive of the classes that a broker loads: with it a JVM starts in half the time. It is
//! made once, by a broker that does nothing else.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;

use super::install::Install;
use super::properties::{Properties, node_id};
use crate::engine::Engine;
use crate::port::Port;
use crate::process::Process;
use crate::{Error, cache};

const FILE: &str = "classes.jsa";
/// How long that broker may take to start, and to end and write the archive.
const LIMIT: Duration = Duration::from_secs(60);

/// The option by which a JVM takes the archive, made now if there is none; for where it may block.
/// `None` where no JVM here can make one: brokers then start as they do without. A JVM that it
/// does not fit does not use it.
pub(super) fn option(name: &str, install: &Install) -> Result<Option<OsString>, Error> {
    let directory = cache::get_or_build(&format!("{name}-classes"), |made| {
        let ended = Handle::current().block_on(make(install, made))?;
        if let Err(error) = ended {
            eprintln!("test-brokers: no archive of Kafka's classes, brokers start slower: {error}");
        }
        Ok(())
    })?;
    let file = directory.join(FILE);
    Ok(file.is_file().then(|| {
        let mut option = OsString::from("-XX:SharedArchiveFile=");
        option.push(file);
        option
    }))
}

/// Runs a broker in `directory` until it is ready, and ends it in order; how that came out.
async fn make(install: &Install, directory: &Path) -> Result<Result<(), Error>, Error> {
    let (client, internal, controller) = (Port::take()?, Port::take()?, Port::take()?);
    let store = directory.join("store");
    let properties = Properties {
        index: 0,
        controllers: &[controller.number()],
        client: client.number(),
        advertised: client.number(),
        internal: internal.number(),
        address: "127.0.0.1",
        protocol: "PLAINTEXT",
        store: &store,
    };
    let file = directory.join("server.properties");
    fs::write(&file, properties.to_text()).map_err(Error::io("cannot write", &file))?;
    install.format(&store, node_id(0), directory, &[])?;
    let install = install.with_option(format!("-XX:ArchiveClassesAtExit={FILE}").into());
    let process = Process::new("kafka-classes".to_owned(), directory.join("kafka.log"));
    let broker = Engine::Process(process);
    broker.start(|| install.broker(directory, false))?;
    let started = || async {
        let log = fs::read_to_string(broker.log()).unwrap_or_default();
        match log.contains("Kafka Server started") {
            true => Ok(()),
            false => Err("it has not started".to_owned()),
        }
    };
    let ended = match broker.ready(LIMIT, started).await {
        Ok(()) => broker.stop(LIMIT).await,
        Err(error) => Err(error),
    };
    drop(broker);
    fs::remove_dir_all(&store).map_err(Error::io("cannot remove", &store))?;
    Ok(ended)
}
