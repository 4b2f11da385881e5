//! Flush, close and drop.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use super::bus::{CLOSED, CLOSING, Inner};
use crate::{Error, ErrorKind, backend::Transport, subscription::now};

impl<T: Transport> Inner<T> {
    pub(super) async fn flush(&self) -> Result<(), Error> {
        self.transport.expedite();
        let bound = self.ledger.timeout() * 3 / 2;
        tokio::time::timeout(bound, self.ledger.flush()).await.map_err(|_| {
            self.error(
                ErrorKind::AckTimeout,
                "some envelopes have no verdict yet, or their failures are still being handled; \
                 flush again to go on waiting",
            )
            .with_operation("flush")
            .with_context("waited", humantime::format_duration(bound))
        })
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        let mut closed = self.closed.lock().await;
        if *closed {
            return Ok(());
        }
        let deadline = now() + self.ledger.config.close_timeout;
        self.refuse_new_work();
        let subscriptions = self.open_subscriptions();
        self.transport.expedite();
        let settled = async {
            for subscription in &subscriptions {
                subscription.settled(deadline).await;
            }
        };
        let flushed = timeout_at(deadline.into(), self.ledger.flush());
        let _ = tokio::join!(settled, flushed);
        for subscription in &subscriptions {
            subscription.close();
        }
        // Dead letters of the last settlements may still be out.
        let _ = timeout_at(deadline.into(), self.ledger.flush()).await;
        self.lifecycle.store(CLOSED, Ordering::Release);
        self.ledger.seal();
        self.transport.shutdown(deadline).await;
        let unanswered = self.ledger.fail_all(|sent| self.cut_off(sent));
        let handled = self.finish_handler(deadline).await;
        self.stop_tasks().await;
        self.ledger.failures.detach();
        self.ledger.failures.run(&self.ledger);
        *closed = true;
        let error = if !handled {
            "the failure handler has not returned; its thread goes on until it does"
        } else if unanswered > 0 {
            "not every envelope had its verdict in time; the rest went to the failure handler"
        } else {
            return Ok(());
        };
        Err(self
            .error(ErrorKind::AckTimeout, error)
            .with_operation("close")
            .with_context("unanswered", unanswered))
    }

    fn refuse_new_work(&self) {
        {
            // Under the lock that subscribing takes.
            let _open = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
            self.lifecycle.store(CLOSING, Ordering::Release);
        }
        self.ledger.close_window();
        for subscription in self.open_subscriptions() {
            subscription.stop();
        }
    }

    fn cut_off(&self, sent: bool) -> Error {
        let error = self
            .error(ErrorKind::Closed, "the bus was closed before the envelope had its verdict")
            .with_operation("publish");
        if sent { error.ambiguous() } else { error }
    }

    /// Waits for the failure handler, for the rest of the time and at least a second.
    async fn finish_handler(&self, deadline: Instant) -> bool {
        let until = deadline.max(now() + Duration::from_secs(1));
        timeout_at(until.into(), self.ledger.failures.idle()).await.is_ok()
    }

    async fn stop_tasks(&self) {
        loop {
            // Popped one at a time, so that a cancelled close can go on where it stopped.
            let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(task) = task else { return };
            task.abort();
            let _ = task.await;
        }
    }

    /// What dropping the bus does: close with no time and without a runtime.
    pub(super) fn abandon(&self) {
        // No close can be running: the bus is being dropped.
        if self.closed.try_lock().is_ok_and(|closed| *closed) {
            return;
        }
        self.refuse_new_work();
        for subscription in self.open_subscriptions() {
            subscription.close();
        }
        self.lifecycle.store(CLOSED, Ordering::Release);
        self.ledger.seal();
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.ledger.fail_all(|sent| self.cut_off(sent));
        self.ledger.failures.detach();
        self.ledger.failures.run(&self.ledger);
    }
}
