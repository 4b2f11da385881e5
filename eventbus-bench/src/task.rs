//! Tasks of a load.

use eventbus_core::{Error, ErrorKind};
use tokio::task::{JoinError, JoinHandle};

/// A task that ends when it is dropped.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    pub(crate) async fn join(mut self) -> Result<T, Error> {
        (&mut self.0).await.map_err(|error| died(&error))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn died(error: &JoinError) -> Error {
    Error::new(ErrorKind::Unexpected, format!("a task of the load died: {error}"))
}
