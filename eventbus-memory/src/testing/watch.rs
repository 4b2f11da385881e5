//! Waiting for what is stored.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Told about each stored message while somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    watchers: AtomicUsize,
    stored: Notify,
}

impl Watch {
    /// To be called after a message was stored under its log's lock: a watcher that looked
    /// under that lock before is counted by now.
    pub(crate) fn stored(&self) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.stored.notify_waiters();
        }
    }

    /// Resolves when `enough` says so, which looks under the logs' locks.
    pub(crate) async fn until(&self, enough: impl Fn() -> bool) {
        let _watching = Watching::new(self);
        loop {
            let mut stored = std::pin::pin!(self.stored.notified());
            stored.as_mut().enable();
            if enough() {
                return;
            }
            stored.await;
        }
    }
}

struct Watching<'a>(&'a Watch);

impl<'a> Watching<'a> {
    fn new(watch: &'a Watch) -> Self {
        watch.watchers.fetch_add(1, Ordering::Relaxed);
        Self(watch)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
