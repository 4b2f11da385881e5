//! What makes brokers and directories go away however this process ends.
//!
//! Values clean up after themselves when dropped. That is not enough after
//! `kill -9`, Ctrl-C or an abort, so each process that starts a broker also has
//! two helpers, each at the other end of a pipe that only this process holds:
//!
//! - the *leader*, a `cat` whose only purpose is its process group, which all
//!   brokers join as they are started;
//! - the *watcher*, a `sh` in a group of its own, which kills that group and
//!   removes the run directory once the pipe is closed.
//!
//! The operating system closes the pipe, so it works whatever happens here, and
//! there is no moment at which a broker runs unwatched. (`PR_SET_PDEATHSIG` would
//! need `unsafe`, works on Linux alone, does not remove directories and fires when
//! the *thread* ends that started the broker.) The groups also keep a terminal's
//! Ctrl-C from reaching the brokers, which are stopped in order instead.

use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::cache;

/// The label of the containers of a run; its value is the run directory.
const LABEL: &str = "eventbus-test-run";
/// A file in the run directory, there once a container may be.
const CONTAINERS: &str = "containers";

/// `$1` is the group of the brokers, `$2` the run directory, `$3` the label of its
/// containers.
///
/// Removing is repeated because a process that is being killed may still create
/// a file.
const WATCH: &str = r#"
trap '' HUP INT QUIT TERM
while read -r line; do :; done
kill -s KILL -- "-$1"
if [ -e "$2/containers" ]; then
    docker ps --all --quiet --filter "label=$3=$2" | while read -r id; do
        docker rm --force --volumes "$id"
    done
fi
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$2" && break
    sleep 0.1
done
kill -s KILL -- "-$1"
rm -f -- "$2.lock"
"#;

static GUARD: Mutex<Option<Guard>> = Mutex::new(None);
static NEXT_DIRECTORY: AtomicU32 = AtomicU32::new(0);

/// The helpers of this process. Their pipes are closed when it ends.
#[derive(Debug)]
struct Guard {
    directory: PathBuf,
    leader: Child,
    _watcher: Child,
    _lock: File,
}

/// A directory of a broker, removed when dropped or when the process ends.
#[derive(Debug)]
pub(crate) struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Creates a directory whose name starts with `name`.
    pub(crate) fn create(name: &str) -> Result<Self, Error> {
        let number = NEXT_DIRECTORY.fetch_add(1, Ordering::Relaxed);
        let path = with(|guard| guard.directory.join(format!("{name}-{number}")))?;
        fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        // The watcher tries again at the end.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes `command` a member of the group that the watcher kills.
pub(crate) fn join(command: &mut Command) -> Result<(), Error> {
    let group = with(|guard| guard.leader.id())?;
    command.process_group(i32::try_from(group).unwrap_or(0));
    Ok(())
}

/// The name and value of the label that a container must have, so that the watcher
/// removes it.
pub(crate) fn container_label() -> Result<(&'static str, String), Error> {
    let directory = with(|guard| guard.directory.clone())?;
    let mark = directory.join(CONTAINERS);
    fs::write(&mark, "").map_err(Error::io("cannot write", mark))?;
    Ok((LABEL, directory.to_string_lossy().into_owned()))
}

fn with<T>(use_it: impl FnOnce(&Guard) -> T) -> Result<T, Error> {
    let mut guard = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    match &*guard {
        Some(guard) => Ok(use_it(guard)),
        None => Ok(use_it(guard.insert(Guard::new()?))),
    }
}

impl Guard {
    fn new() -> Result<Self, Error> {
        let runs = cache::directory().join("run");
        fs::create_dir_all(&runs).map_err(Error::io("cannot create", &runs))?;
        // Held while a run is made or swept, so that no half-made one is swept.
        let gate = cache::lock(&runs.join("gate.lock"))?;
        sweep(&runs);
        let (directory, lock) = claim(&runs)?;
        drop(gate);

        let leader = helper("cat").spawn().map_err(Error::io("cannot run", "cat"))?;
        let watcher = helper("sh")
            .args(["-c", WATCH, "watcher"])
            .arg(leader.id().to_string())
            .arg(&directory)
            .arg(LABEL)
            .spawn()
            .map_err(Error::io("cannot run", "sh"))?;
        Ok(Self { directory, leader, _watcher: watcher, _lock: lock })
    }
}

fn helper(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0);
    command
}

/// Creates this process's run directory, and beside it a file that stays locked
/// for as long as the process lives.
fn claim(runs: &Path) -> Result<(PathBuf, File), Error> {
    let pid = std::process::id();
    for attempt in 0..1_000 {
        let directory = runs.join(format!("{pid}-{attempt}"));
        match fs::create_dir(&directory) {
            Ok(()) => {
                let lock = cache::lock(&directory.with_extension("lock"))?;
                return Ok((directory, lock));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("cannot create", directory)(error)),
        }
    }
    Err(Error::io("cannot create a directory in", runs)(std::io::ErrorKind::AlreadyExists.into()))
}

/// Removes what processes left whose watcher could not finish: a power cut, say.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    for entry in entries.flatten() {
        let directory = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = directory.with_extension("lock");
        let held = File::open(&lock)
            .is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        if !held {
            if directory.join(CONTAINERS).exists() {
                remove_containers(&directory);
            }
            let _ = fs::remove_dir_all(&directory);
            let _ = fs::remove_file(&lock);
        }
    }
}

/// As the watcher does.
fn remove_containers(run: &Path) {
    let filter = format!("label={LABEL}={}", run.display());
    let listed = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    for id in String::from_utf8_lossy(&listed).lines() {
        // Next time, then.
        let _ = Command::new("docker").args(["rm", "-f", "-v", id]).output();
    }
}
