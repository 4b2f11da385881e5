//! Tasks that end with what started them, and what is left of a bus.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, task::JoinHandle};

use crate::exit::Failure;

/// A task that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    pub(crate) async fn join(mut self) -> Result<T, Failure> {
        (&mut self.0).await.map_err(|error| Failure::failed(format!("a task died: {error}")))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many tasks there are.
pub(crate) fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// How many tasks there are beyond `before`, once those that are ending have ended.
pub(crate) async fn left_over(before: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = alive().saturating_sub(before);
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
