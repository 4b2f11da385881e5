//! `with`: a command between the start and the end of brokers.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use test_brokers::{Error, Found, Kafka, Nats, discover, prepare};
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};

use crate::Broker;

/// The exit status of the command, or what stands for it.
pub(crate) async fn run(
    brokers: &[Broker],
    peers: bool,
    command: &[OsString],
) -> Result<i32, Error> {
    let mut signals = Signals::listen()?;
    let started = tokio::select! {
        started = Started::start(brokers, peers) => started?,
        signal = signals.next() => return Ok(128 + signal.as_raw()),
    };
    let (program, arguments) = command.split_first().unwrap_or_else(|| {
        unreachable!("the argument is required");
    });
    let child = Command::new(program)
        .args(arguments)
        .envs(started.variables.iter().map(|(name, value)| (name, value)))
        .spawn();
    match child {
        Ok(mut child) => signals.forward_while(&mut child, program).await,
        Err(error) => {
            eprintln!("test-brokers: cannot run {}: {error}", program.display());
            Ok(match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                _ => 126,
            })
        }
    }
}

/// The brokers, which end when this is dropped, and what the command is told.
#[derive(Debug, Default)]
struct Started {
    variables: Vec<(&'static str, OsString)>,
    _nats: Option<Found<Nats>>,
    _kafka: Option<Found<Kafka>>,
}

impl Started {
    /// Starts all at once.
    async fn start(brokers: &[Broker], peers: bool) -> Result<Self, Error> {
        let (with_nats, with_kafka) =
            (brokers.contains(&Broker::Nats), brokers.contains(&Broker::Kafka));
        let (nats, nats_cli, kafka, kafka_class_path) = tokio::try_join!(
            when(with_nats, discover::nats()),
            when(with_nats && peers, prepare::nats_cli()),
            when(with_kafka, discover::kafka_by(Kafka::builder().full_speed())),
            when(with_kafka && peers, prepare::kafka_class_path()),
        )?;
        let mut started = Self::default();
        started.tell("EVENTBUS_NATS_URL", nats.as_ref().map(Found::<Nats>::url));
        started.tell("EVENTBUS_KAFKA_URL", kafka.as_ref().map(Found::<Kafka>::url));
        started.tell("EVENTBUS_PEER_NATS_CLI", nats_cli);
        started.tell("EVENTBUS_PEER_KAFKA_CP", kafka_class_path);
        started._nats = nats;
        started._kafka = kafka;
        Ok(started)
    }

    fn tell(&mut self, variable: &'static str, value: Option<impl AsRef<OsStr>>) {
        if let Some(value) = value {
            self.variables.push((variable, value.as_ref().to_owned()));
        }
    }
}

async fn when<T>(
    wanted: bool,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    match wanted {
        true => work.await.map(Some),
        false => Ok(None),
    }
}

/// What asks this program to end.
#[derive(Debug)]
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            unix::signal(kind)
                .map_err(|source| Error::Signal { broker: "test-brokers".to_owned(), source })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }

    /// Waits for the command's end; what it should end for is passed on to it.
    async fn forward_while(&mut self, child: &mut Child, program: &OsStr) -> Result<i32, Error> {
        loop {
            let signal = tokio::select! {
                ended = child.wait() => {
                    let status = ended.map_err(|source| Error::Io {
                        action: "cannot wait for",
                        path: program.into(),
                        source,
                    })?;
                    return Ok(status
                        .code()
                        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
                }
                signal = self.next() => signal,
            };
            if signal == Signal::INT && in_foreground() {
                continue;
            }
            let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            if let Some(pid) = pid {
                // It may have ended meanwhile, which the next round sees.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

/// Whether a terminal's Ctrl-C reaches the command as well.
fn in_foreground() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
}
