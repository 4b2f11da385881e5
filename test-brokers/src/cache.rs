//! Where built brokers are kept, and how processes take turns building them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use crate::Error;
use crate::guard::{self, RunDirectory};

/// `target/test-brokers`.
///
/// The target directory is the one that holds the running program, wherever
/// `CARGO_TARGET_DIR` puts it; it is known by the tag that Cargo leaves there.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let target = std::env::current_exe().ok().and_then(|program| {
            program
                .ancestors()
                .find(|directory| directory.join("CACHEDIR.TAG").is_file())
                .map(Path::to_path_buf)
        });
        target
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"))
            .join("test-brokers")
    })
}

/// Locks `path` for as long as the file is held, waiting for other processes.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io("cannot create", path))?;
    file.lock().map_err(Error::io("cannot lock", path))?;
    Ok(file)
}

/// The directory `name` in the cache, made by `build` in a directory of its own
/// if it is not there yet. It appears whole or not at all.
pub(crate) fn get_or_build(
    name: &str,
    build: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let cached = directory().join(name);
    if cached.is_dir() {
        return Ok(cached);
    }
    fs::create_dir_all(directory()).map_err(Error::io("cannot create", directory()))?;
    let _lock = lock(&directory().join(format!("{name}.lock")))?;
    if cached.is_dir() {
        return Ok(cached);
    }
    let started = Instant::now();
    eprintln!("test-brokers: building {name} (once; it stays in target/test-brokers) …");
    let scratch = RunDirectory::create("build")?;
    let made = scratch.path().join(name);
    fs::create_dir(&made).map_err(Error::io("cannot create", &made))?;
    build(&made)?;
    fs::rename(&made, &cached).map_err(Error::io("cannot create", &cached))?;
    eprintln!("test-brokers: built {name} in {:.0?}", started.elapsed());
    Ok(cached)
}

/// Runs a build tool to its end; it goes away with this process.
pub(crate) fn run_tool(
    what: &str,
    command: &mut Command,
    missing: impl FnOnce(std::io::Error) -> Error,
) -> Result<(), Error> {
    guard::join(command)?;
    let (mut output, writer) =
        std::io::pipe().map_err(Error::io("cannot open a pipe for", what))?;
    let errors = writer.try_clone().map_err(Error::io("cannot open a pipe for", what))?;
    let mut child =
        command.stdin(Stdio::null()).stdout(writer).stderr(errors).spawn().map_err(missing)?;
    // The command holds the pipe's other end: without this the reading never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    let read = output.read_to_end(&mut said);
    let status = child.wait().map_err(Error::io("cannot wait for", what))?;
    read.map_err(Error::io("cannot read the output of", what))?;
    if status.success() {
        return Ok(());
    }
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    Err(Error::Build {
        what: what.to_owned(),
        command: format!("{} {}", command.get_program().to_string_lossy(), arguments.join(" ")),
        status,
        output: tail(&String::from_utf8_lossy(&said), 40),
    })
}

/// The last `lines` lines of `text`, for errors.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
