//! The program `test-brokers`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::until::{listens, runs, until};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-brokers"));
    command.args(arguments).env("EVENTBUS_TEST_BROKERS", "native").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn port_of(url: &str) -> u16 {
    url.trim().rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_command_gets_the_url_and_passes_on_its_status() {
    let output = run(&["with", "nats", "--", "sh", "-c", "echo $EVENTBUS_NATS_URL; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(url.starts_with("nats://127.0.0.1:"), "{url}");
    assert!(!listens(port_of(&url)));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("NATS is native"), "{said}");
}

#[test]
fn a_command_that_cannot_be_run_has_a_status_of_its_own() {
    let output = run(&["with", "nats", "--", "/no/such/command"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    let output = run(&["with", "nats", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(128 + 9), "{output:?}");
}

#[test]
fn a_server_elsewhere_is_used_as_it_is() {
    let output = program(&["with", "nats", "--", "sh", "-c", "echo $EVENTBUS_NATS_URL"])
        .env_remove("EVENTBUS_TEST_BROKERS")
        .env("EVENTBUS_TEST_NATS_URL", "nats://elsewhere:4222")
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"nats://elsewhere:4222\n");
}

#[test]
fn without_go_it_says_what_to_install() {
    // Linked elsewhere, the program has an empty cache.
    let away = Path::new(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    std::fs::create_dir_all(&away).unwrap();
    std::fs::write(away.join("CACHEDIR.TAG"), "").unwrap();
    let linked = away.join("program");
    std::fs::hard_link(env!("CARGO_BIN_EXE_test-brokers"), &linked).unwrap();
    for tool in ["sh", "cat", "rm", "sleep"] {
        let found = ["/bin", "/usr/bin"].map(|directory| format!("{directory}/{tool}"));
        let found = found.iter().find(|path| Path::new(path).exists());
        std::os::unix::fs::symlink(found.unwrap(), away.join(tool)).unwrap();
    }
    let output =
        Command::new(&linked).args(["prepare", "nats"]).env("PATH", &away).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("install Go"), "{said}");
    assert!(said.contains("EVENTBUS_TEST_NATS_URL"), "{said}");
    until("the run directory is gone", || {
        std::fs::read_dir(away.join("test-brokers/run"))
            .is_ok_and(|run| run.flatten().all(|entry| !entry.path().is_dir()))
    });
    std::fs::remove_dir_all(&away).unwrap();
}

/// `with`, and a command that says where the server is and then waits.
struct With {
    process: Child,
    port: u16,
    command: u32,
}

impl With {
    /// `first` runs before the command says that it is there.
    fn start(first: &str, then: &str) -> Self {
        let script = format!("{first}\necho $EVENTBUS_NATS_URL; echo $$; {then}");
        let mut process = program(&["with", "nats", "--", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        Self {
            port: port_of(&lines.next().unwrap()),
            command: lines.next().unwrap().parse().unwrap(),
            process,
        }
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        let status = self.process.wait().unwrap();
        until("the server is gone", || !listens(self.port));
        status.code()
    }
}

#[test]
fn an_interrupt_ends_the_command_and_the_brokers() {
    let with = With::start("", "exec sleep 600");
    let command = with.command;
    assert_eq!(with.end(Signal::INT), Some(128 + 2));
    assert!(!runs(command));
}

#[test]
fn a_command_that_ends_in_order_decides_the_status() {
    let with = With::start("trap 'exit 3' TERM", "while :; do sleep 0.1; done");
    let command = with.command;
    assert_eq!(with.end(Signal::TERM), Some(3));
    assert!(!runs(command));
}

#[test]
fn brokers_go_away_when_the_program_is_killed() {
    let with = With::start("", "exec sleep 600");
    let command = with.command;
    assert_eq!(with.end(Signal::KILL), None);
    // Nobody is left to tell the command.
    let command = i32::try_from(command).ok().and_then(Pid::from_raw).unwrap();
    kill_process(command, Signal::KILL).unwrap();
}
