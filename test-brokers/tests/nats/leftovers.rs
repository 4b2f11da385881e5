//! However a process ends, its servers and directories go away.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use test_brokers::Nats;

use crate::client::Client;
use crate::until::{listens, runs, until};

const ENDING: &str = "TEST_BROKERS_ENDING";

/// Not a test of its own: what the others run in another process.
#[tokio::test]
#[ignore = "run by the other tests, in a process of its own"]
async fn holder() {
    let nats = Nats::start().await.unwrap();
    let (pid, port) = (nats.pid().unwrap(), nats.port());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "HOLDS {pid} {port} {}", nats.directory().display()).unwrap();
    stdout.flush().unwrap();
    match std::env::var(ENDING).as_deref() {
        Ok("panic") => panic!("as asked"),
        Ok("abort") => std::process::abort(),
        Ok("exit") => std::process::exit(0),
        Ok("paused") => nats.pause().unwrap(),
        _ => {}
    }
    std::future::pending::<()>().await;
}

/// Another process, and what it holds.
struct Holder {
    process: Child,
    server: u32,
    port: u16,
    directory: PathBuf,
}

impl Holder {
    fn start(ending: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leftovers::holder", "--ignored", "--nocapture"])
            .env(ENDING, ending)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("HOLDS ")?.1.to_owned()))
            .expect("a server");
        let mut fields = said.splitn(3, ' ');
        Self {
            server: fields.next().unwrap().parse().unwrap(),
            port: fields.next().unwrap().parse().unwrap(),
            directory: fields.next().unwrap().into(),
            process,
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn leaves_nothing(mut self) {
        self.process.wait().unwrap();
        until("the server is gone", || !runs(self.server) && !listens(self.port));
        let run = self.directory.parent().unwrap();
        until("the directories are gone", || !run.exists());
        until("the lock is gone", || !run.with_extension("lock").exists());
    }
}

#[test]
fn after_a_panic() {
    Holder::start("panic").leaves_nothing();
}

#[test]
fn after_an_abort() {
    Holder::start("abort").leaves_nothing();
}

#[test]
fn after_an_exit_that_drops_nothing() {
    Holder::start("exit").leaves_nothing();
}

#[test]
fn after_a_kill() {
    let holder = Holder::start("");
    assert!(runs(holder.server) && listens(holder.port));
    holder.send(Signal::KILL);
    holder.leaves_nothing();
}

#[test]
fn after_an_interrupt() {
    let holder = Holder::start("");
    holder.send(Signal::INT);
    holder.leaves_nothing();
}

#[test]
fn after_a_kill_with_a_paused_server() {
    let holder = Holder::start("paused");
    holder.send(Signal::KILL);
    holder.leaves_nothing();
}

/// What kills children when a *thread* ends would end this server too early.
#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let nats =
        std::thread::spawn(move || runtime().block_on(Nats::start()).unwrap()).join().unwrap();
    let connected = runtime().block_on(Client::connect(nats.port()));
    assert!(connected.is_ok());
}
