//! Ctrl-C and SIGTERM.

use std::{future::Future, io};

use tokio::sync::watch;

use crate::exit::{Exit, Failure};

/// Tells when the user wants to stop. The second time, the process ends at once.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::new()
            .map_err(|error| Failure::failed(format!("signals cannot be received: {error}")))?;
        let (interrupted, receiver) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            let _ = interrupted.send(true);
            signals.next().await;
            std::process::exit(i32::from(Exit::Interrupted.code()));
        });
        Ok(Self(receiver))
    }

    /// One that never comes.
    pub(crate) fn never() -> Self {
        Self(watch::channel(false).1)
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the user wants to stop.
    pub(crate) async fn requested(&self) {
        if self.0.clone().wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs what may be dropped halfway.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            outcome = work => outcome,
            () = self.requested() => Err(Failure::interrupted()),
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
