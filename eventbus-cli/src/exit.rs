//! How the program ends.

use std::{error::Error as StdError, io};

use eventbus::{Error, ErrorKind};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    Unavailable,
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Interrupted => 130,
        }
    }
}

/// Why the program ends before it is done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// `None` for what is no news to the user.
    message: Option<String>,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()) }
    }

    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: None }
    }

    /// Puts something before the message.
    pub(crate) fn context(mut self, before: &str) -> Self {
        self.message = self.message.map(|message| format!("{before}{message}"));
        self
    }

    /// Adds something that is still worth knowing.
    pub(crate) fn note(mut self, note: &str) -> Self {
        self.message = self.message.map(|message| format!("{message}\n{note}"));
        self
    }

    /// Adds what to do about it.
    pub(crate) fn tip(self, tip: &str) -> Self {
        self.note(&format!("  tip: {tip}"))
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// Tells the user on standard error.
    pub(crate) fn report(self, json: bool) -> Exit {
        if let Some(message) = &self.message {
            if json {
                let line = serde_json::json!({"error": message, "exit_code": self.exit.code()});
                complain(&line.to_string());
            } else {
                complain(&format!("{ERROR}error:{ERROR:#} {message}"));
            }
        }
        self.exit
    }
}

const ERROR: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();

/// A line on standard error; one that nobody can read is no error.
pub(crate) fn complain(line: &str) {
    use io::Write as _;
    let _ = writeln!(anstream::stderr(), "{line}");
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::InvalidTopic
            | ErrorKind::InvalidEnvelope
            | ErrorKind::InvalidConfig
            | ErrorKind::UnknownScheme
            | ErrorKind::Unsupported
            | ErrorKind::GroupConflict
            | ErrorKind::Unauthorized
            | ErrorKind::PermissionDenied => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, with_causes(&error))
    }
}

impl From<io::Error> for Failure {
    /// Of standard output: somebody who stops reading events wants no more.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, message: None };
        }
        Self::failed(format!("standard output cannot be written: {error}"))
    }
}

/// An error and what caused it, one a line.
fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str("\n  caused by: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_help() {
        for (kind, code) in [
            (ErrorKind::Unavailable, 3),
            (ErrorKind::InvalidConfig, 2),
            (ErrorKind::UnknownScheme, 2),
            (ErrorKind::InvalidTopic, 2),
            (ErrorKind::Unauthorized, 2),
            (ErrorKind::TooLarge, 1),
            (ErrorKind::AckTimeout, 1),
        ] {
            assert_eq!(Failure::from(Error::new(kind, "")).exit.code(), code, "{kind}");
        }
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((closed.exit.code(), closed.message), (0, None));
    }

    #[test]
    fn causes_are_told() {
        let error =
            Error::new(ErrorKind::Unavailable, "start it").with_source(io::Error::other("x"));
        let failure = Failure::from(error).context("line 3: ").tip("wait");
        let expected = "line 3: unavailable: start it\n  caused by: x\n  tip: wait";
        assert_eq!(failure.message(), expected);
    }
}
