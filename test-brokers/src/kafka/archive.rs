//! An archive of the classes that a broker loads: with it a JVM starts in half the time. It is
//! made once, by a broker that does nothing else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::install::{Install, JVM, QUICK, java};
use super::properties::{Properties, node_id};
use crate::port::Port;
use crate::{Error, cache, guard};

const FILE: &str = "classes.jsa";
/// How long that broker may take to start, or to end and write the archive.
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// The archive for `install`, made now if there is none. `None` where no JVM here can make one:
/// brokers then start as they do without. A JVM that it does not fit does not use it.
pub(super) fn of(name: &str, install: &Install) -> Result<Option<PathBuf>, Error> {
    let directory = cache::get_or_build(&format!("{name}-classes"), |made| {
        if !make(install, made)? {
            eprintln!("test-brokers: no archive of Kafka's classes, so brokers start slower");
        }
        Ok(())
    })?;
    let file = directory.join(FILE);
    Ok(file.is_file().then_some(file))
}

/// Whether there is one in `directory` now.
fn make(install: &Install, directory: &Path) -> Result<bool, Error> {
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
    let log = directory.join("kafka.log");
    let output = File::create(&log).map_err(Error::io("cannot create", &log))?;
    let errors = output.try_clone().map_err(Error::io("cannot open", &log))?;
    let mut broker = java(directory, &install.class_path());
    broker
        .arg(format!("-XX:ArchiveClassesAtExit={FILE}"))
        .args(QUICK)
        .args(JVM)
        .args(["kafka.Kafka", "server.properties"])
        .stdout(output)
        .stderr(errors);
    run(broker, &log)?;
    fs::remove_dir_all(&store).map_err(Error::io("cannot remove", &store))?;
    Ok(directory.join(FILE).is_file())
}

/// Runs the broker until it is ready, and ends it in order.
fn run(mut broker: Command, log: &Path) -> Result<(), Error> {
    guard::join(&mut broker)?;
    let mut child = broker.spawn().map_err(Error::io("cannot run", "java"))?;
    let deadline = Instant::now() + LIMIT;
    let mut asked = false;
    while Instant::now() < deadline {
        if child.try_wait().map_err(Error::io("cannot wait for", "java"))?.is_some() {
            return Ok(());
        }
        let ready =
            || fs::read_to_string(log).is_ok_and(|log| log.contains("Kafka Server started"));
        if !asked && ready() {
            asked = true;
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        }
        thread::sleep(POLL);
    }
    let _ = child.kill();
    child.wait().map(drop).map_err(Error::io("cannot wait for", "java"))
}
