//! Threads of this backend: how they are woken, and how their end is awaited.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::{self, JoinHandle, Thread},
    time::Instant,
};

use tokio::{sync::watch, time::timeout_at};

/// Wakes a thread that parks. What happened before is to be seen by the thread after.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signal(Arc<OnceLock<Thread>>);

impl Signal {
    pub(crate) fn notify(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// A thread whose end can be awaited.
#[derive(Debug)]
pub(crate) struct Worker {
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<()>,
    pub(crate) signal: Signal,
}

impl Worker {
    pub(crate) fn spawn(
        name: &str,
        signal: Signal,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = watch::channel(());
        let own = signal.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = own.0.set(thread::current());
            body();
            drop(end);
        })?;
        Ok(Self { thread: Mutex::new(Some(thread)), ended, signal })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.has_changed().is_err()
    }

    /// Waits for its end; false when it has not come by `deadline`. Cancel-safe.
    pub(crate) async fn join(&self, deadline: Instant) -> bool {
        let mut ended = self.ended.clone();
        // Ends with an error: the thread never sends, it only drops the sender.
        let end = async { while ended.changed().await.is_ok() {} };
        if timeout_at(deadline.into(), end).await.is_err() {
            return false;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has nothing left to do but to return.
            let _ = thread.join();
        }
        true
    }
}
