//! What a broker runs in: a process or a container, with the same controls.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::Error;
use crate::container::Container;
use crate::process::Process;
use crate::wait::{self, Attempt, TooLate};

/// One broker, which can be started again after it ended. Killed when dropped.
#[derive(Debug)]
pub(crate) enum Engine {
    Process(Process),
    Container(Container),
}

impl Engine {
    pub(crate) fn log(&self) -> &Path {
        match self {
            Self::Process(process) => process.log(),
            Self::Container(container) => container.log(),
        }
    }

    /// The image, if it is a container.
    pub(crate) fn image(&self) -> Option<&str> {
        match self {
            Self::Process(_) => None,
            Self::Container(container) => Some(container.image()),
        }
    }

    /// Starts it; `command` is what a process runs. One that still runs is killed
    /// first.
    pub(crate) fn start(&self, command: impl FnOnce() -> Command) -> Result<(), Error> {
        match self {
            Self::Process(process) => process.start(command()),
            Self::Container(container) => container.start(),
        }
    }

    /// Its process id on this machine, if it has not ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => process.pid(),
            Self::Container(container) => container.pid(),
        }
    }

    /// Whether it runs and is not paused.
    pub(crate) fn answers(&self) -> bool {
        match self {
            Self::Process(process) => process.answers(),
            Self::Container(container) => container.answers(),
        }
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) fn kill(&self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Container(container) => container.kill(),
        }
    }

    /// Freezes it. Its connections stay open.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        match self {
            Self::Process(process) => process.pause(),
            Self::Container(container) => container.pause(),
        }
    }

    pub(crate) fn resume(&self) -> Result<(), Error> {
        match self {
            Self::Process(process) => process.resume(),
            Self::Container(container) => container.resume(),
        }
    }

    /// SIGTERM, and waits until it is gone; killed at the end of `limit`.
    pub(crate) async fn stop(&self, limit: Duration) -> Result<(), Error> {
        match self {
            Self::Process(process) => process.stop(limit).await,
            Self::Container(container) => container.stop(limit).await,
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        match self {
            Self::Process(process) => process.ended(),
            Self::Container(container) => container.ended(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Process(process) => process.name(),
            Self::Container(container) => container.name(),
        }
    }

    fn log_tail(&self) -> String {
        match self {
            Self::Process(process) => process.log_tail(),
            Self::Container(container) => container.log_tail(),
        }
    }

    /// Repeats `probe` until it succeeds; fails when the broker ends before.
    pub(crate) async fn ready<T, P>(
        &self,
        limit: Duration,
        mut probe: impl FnMut() -> P,
    ) -> Result<T, Error>
    where
        P: Future<Output = Result<T, String>>,
    {
        let outcome = wait::until(limit, || {
            let probe = probe();
            async {
                match self.ended() {
                    Some(status) => Attempt::Never(status),
                    None => probe.await.map_or_else(Attempt::NotYet, Attempt::Ready),
                }
            }
        });
        let broker = self.name().to_owned();
        match outcome.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => Err(Error::Ended { broker, status, log: self.log_tail() }),
            Err(TooLate { after, last }) => {
                Err(Error::NotReady { broker, after, last, log: self.log_tail() })
            }
        }
    }
}
