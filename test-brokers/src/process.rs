//! One broker's process: started, signalled, waited for.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::Error;
use crate::cache::tail;
use crate::guard;
use crate::wait::{self, Attempt, TooLate};

/// A process that can be started again after it ended. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    paused: AtomicBool,
}

impl Process {
    /// Nothing runs yet; `log` is where its output is going to be appended.
    pub(crate) fn new(name: String, log: PathBuf) -> Self {
        Self { name, log, child: Mutex::new(None), paused: AtomicBool::new(false) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The end of its log, for errors.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&log), 30)
    }

    /// Starts `command` as this process. One that still runs is killed first.
    pub(crate) fn start(&self, mut command: Command) -> Result<(), Error> {
        guard::join(&mut command)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::io("cannot open", &self.log))?;
        let errors = log.try_clone().map_err(Error::io("cannot open", &self.log))?;
        let mut child = self.child();
        end(&mut child);
        self.paused.store(false, Ordering::Relaxed);
        let started = command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(Error::io("cannot run", command.get_program()))?;
        *child = Some(started);
        Ok(())
    }

    /// Its process id, if it has not ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        running(&mut self.child()).map(|child| child.id())
    }

    /// Whether it runs and is not paused.
    pub(crate) fn answers(&self) -> bool {
        self.pid().is_some() && !self.paused.load(Ordering::Relaxed)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child().as_mut()?.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&self) {
        end(&mut self.child());
    }

    /// SIGSTOP, and waits until all its threads have stopped: it may answer until
    /// then. Its connections stay open.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let mut child = self.child();
        if let Some(child) = running(&mut child) {
            let changed = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            rustix::io::retry_on_intr(|| waitid(WaitId::Pid(Pid::from_child(child)), changed))
                .map_err(|errno| self.signal_error(errno))?;
        }
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)?;
        self.paused.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// SIGTERM, and waits until it is gone; killed at the end of `limit`.
    pub(crate) async fn stop(&self, limit: Duration) -> Result<(), Error> {
        if self.pid().is_none() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        self.resume().or_else(|error| match self.pid() {
            None => Ok(()),
            Some(_) => Err(error),
        })?;
        let ended = wait::until::<(), (), _>(limit, || async {
            match self.pid() {
                None => Attempt::Ready(()),
                Some(pid) => wait::not_yet(format!("process {pid} still runs")),
            }
        });
        match ended.await {
            Ok(_) => Ok(()),
            Err(TooLate { after, last }) => {
                self.kill();
                Err(Error::Deadline {
                    what: format!("the end of {} after SIGTERM", self.name),
                    after,
                    last: format!("{last}; it was killed"),
                })
            }
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let mut child = self.child();
        let child =
            running(&mut child).ok_or_else(|| Error::NotRunning { broker: self.name.clone() })?;
        kill_process(Pid::from_child(child), signal).map_err(|errno| self.signal_error(errno))
    }

    fn signal_error(&self, errno: Errno) -> Error {
        Error::Signal { broker: self.name.clone(), source: errno.into() }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The child if it has not ended; not being reaped, its process id is still its own.
fn running(child: &mut Option<Child>) -> Option<&mut Child> {
    let child = child.as_mut()?;
    matches!(child.try_wait(), Ok(None)).then_some(child)
}

/// Kills and reaps. An error means that it had ended already.
fn end(child: &mut Option<Child>) {
    if let Some(child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
