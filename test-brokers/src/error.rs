use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a broker could not be had, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that the brokers are built or run with is not installed.
    #[error("`{program}` cannot be run ({source}): install {install}, or set {instead}")]
    MissingTool {
        /// The program that was tried.
        program: &'static str,
        /// What provides it.
        install: &'static str,
        /// The variable that makes it unnecessary.
        instead: &'static str,
        /// What the operating system said.
        source: io::Error,
    },

    /// A broker could not be built or unpacked.
    #[error("{what} could not be built: `{command}` failed ({status})\n{output}")]
    Build {
        /// What was being built.
        what: String,
        /// The command that failed.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it printed.
        output: String,
    },

    /// A broker ended before it was ready.
    #[error("{broker} ended while starting ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which broker.
        broker: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// A broker was not ready in time.
    #[error("{broker} was not ready within {after:?}: {last}; the end of its log:\n{log}")]
    NotReady {
        /// Which broker.
        broker: String,
        /// How long it was waited for.
        after: Duration,
        /// What the last attempt said.
        last: String,
        /// The end of its log.
        log: String,
    },

    /// Something did not become true in time.
    #[error("{what} did not happen within {after:?}: {last}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What the last attempt said.
        last: String,
    },

    /// A control needs a running broker and this one is not.
    #[error("{broker} is not running; `restart()` starts it again")]
    NotRunning {
        /// Which broker.
        broker: String,
    },

    /// The environment asks for something that cannot be.
    #[error("{variable}={value:?}: {reason}")]
    Environment {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },

    /// No free port was found.
    #[error(
        "no free port between {} and {}: end the programs that hold them",
        .range.start,
        .range.end
    )]
    NoFreePort {
        /// Where it was looked for.
        range: std::ops::Range<u16>,
    },

    /// A file or a process could not be handled.
    #[error("{action} {path}: {source}", path = .path.display())]
    Io {
        /// What was being done, such as "cannot write".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A process could not be sent a signal.
    #[error("{broker} cannot be signalled: {source}")]
    Signal {
        /// Which broker.
        broker: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// A container engine, an image or a container could not be had.
    #[error("{what}: {reason}")]
    Docker {
        /// What was wanted.
        what: String,
        /// What went wrong, and what to do.
        reason: String,
    },

    /// Toxiproxy refused what it was asked for, or did not answer.
    #[error("toxiproxy: {request}: {reason}")]
    Toxiproxy {
        /// The request.
        request: String,
        /// What it said.
        reason: String,
    },

    /// Keys or certificates could not be made.
    #[error("keys and certificates could not be made: {0}")]
    Crypto(String),

    /// Work in the background was cut short.
    #[error("work in the background was cut short: {0}")]
    Background(String),
}

impl Error {
    /// For `map_err` on a file operation.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl From<nkeys::error::Error> for Error {
    fn from(error: nkeys::error::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}
