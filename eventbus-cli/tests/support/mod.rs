//! Runs the built program.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Generous: the machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "exit {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The program, without what the environment of the tests would tell it.
pub fn eventbus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventbus"));
    for variable in [
        "EVENTBUS_URL",
        "EVENTBUS_NATS_URL",
        "EVENTBUS_KAFKA_URL",
        "EVENTBUS_LOG",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Ended {
    wait(eventbus().args(arguments))
}

/// Runs a command to its end.
pub fn wait(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// Runs the program to its end, with something to read.
pub fn run_with_input(arguments: &[&str], input: &str) -> Ended {
    let mut running = Running::start(eventbus().args(arguments).stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    running.end()
}

/// A running program, which is killed when the test fails.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    /// What it has said on standard error so far.
    said: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Self { child, said: String::new() }
    }

    /// Waits until it says `expected` on standard error. The rest of standard error is lost.
    pub fn until_it_says(&mut self, expected: &str) {
        let stderr = self.child.stderr.take().expect("piped, and asked for once");
        let mut lines = BufReader::new(stderr);
        loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("UTF-8");
            assert!(read > 0, "it never said {expected:?}: {}", self.said);
            self.said.push_str(&line);
            if line.contains(expected) {
                break;
            }
        }
        self.child.stderr = Some(lines.into_inner());
    }

    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("not zero");
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let stdout = std::thread::spawn(move || stdout.map(read_all).unwrap_or_default());
        let stderr = std::thread::spawn(move || stderr.map(read_all).unwrap_or_default());
        let deadline = Instant::now() + WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; {}", self.said);
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = std::mem::take(&mut self.said);
        Ended {
            code: status.code(),
            stdout: stdout.join().expect("readable"),
            stderr: said + &stderr.join().expect("readable"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut from: impl std::io::Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("UTF-8");
    text
}
