//! The program `eventbus`, as its users run it.

use std::{path::PathBuf, process::Stdio, time::Instant};

use eventbus_conformance::{Failure, Result, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::oneshot,
};

use super::FILTER;

/// Builds the program with both brokers' backends, in the profile of this one.
pub(super) async fn build() -> Result {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-q", "-p", "eventbus-cli", "--features", "nats,kafka"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().await?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!("the program cannot be built: {status}"))),
    }
}

/// Beside this program.
fn path() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("eventbus");
    match path.is_file() {
        true => Ok(path),
        false => Err(Failure::new(format!("there is no {}", path.display()))),
    }
}

/// A running `eventbus pipe`, which ends with its value.
pub(super) struct Pipe {
    child: Child,
    started: Instant,
}

impl Pipe {
    /// Starts it, and waits until both brokers have let it in.
    pub(super) async fn start(from: &str, to: &str) -> Result<Self> {
        let mut child = Command::new(path()?)
            .args(["pipe", "--json", "--from", from, "--to", to, FILTER])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| Failure::new("it is piped"))?;
        let (copies, copying) = oneshot::channel();
        tokio::spawn(pass_on(BufReader::new(stderr), copies));
        let begun = within("a pipe to begin", copying).await?;
        begun.map_err(|_| Failure::new("a pipe ended before it copied anything"))?;
        Ok(Self { child, started: Instant::now() })
    }

    /// Fails when it has ended although nobody wanted that.
    pub(super) fn runs(&mut self) -> Result {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(Failure::new(format!("a pipe ended by itself: {status}"))),
        }
    }

    /// Ctrl-C, and what it says at its end.
    pub(super) async fn interrupt(&mut self) -> Result<Summary> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new("a pipe ended by itself"))?;
        kill_process(pid, Signal::INT).map_err(std::io::Error::from)?;
        let status = within("a pipe to end after Ctrl-C", self.child.wait()).await??;
        let mut text = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut text).await?;
        }
        if !status.success() {
            return Err(Failure::new(format!("a pipe failed: {status} {text}")));
        }
        Summary::read(&text, self.started)
    }
}

/// Passes on what it says, and tells when it has begun.
async fn pass_on(stderr: BufReader<ChildStderr>, copies: oneshot::Sender<()>) {
    let (mut lines, mut copies) = (stderr.lines(), Some(copies));
    while let Ok(Some(line)) = lines.next_line().await {
        if line.starts_with("copying")
            && let Some(copies) = copies.take()
        {
            let _ = copies.send(());
        }
        eprintln!("{line}");
    }
}

/// What pipes of one hop said that they did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summary {
    pub(super) copied: u64,
    pub(super) already_there: u64,
    pub(super) retried: u64,
    pub(super) unacknowledged: u64,
    pub(super) gaps: u64,
    pub(super) seconds: f64,
}

impl Summary {
    fn read(text: &str, started: Instant) -> Result<Self> {
        let json: Value = serde_json::from_str(text.trim())
            .map_err(|error| Failure::new(format!("no summary: {error}: {text:?}")))?;
        let number = |name: &str| json[name].as_u64().unwrap_or_default();
        Ok(Self {
            copied: number("copied"),
            already_there: number("already_there"),
            retried: number("retried"),
            unacknowledged: number("unacknowledged"),
            gaps: number("gaps"),
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Of two runs, one after the other.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            copied: self.copied + other.copied,
            already_there: self.already_there + other.already_there,
            retried: self.retried + other.retried,
            unacknowledged: self.unacknowledged + other.unacknowledged,
            gaps: self.gaps + other.gaps,
            seconds: self.seconds + other.seconds,
        }
    }
}
