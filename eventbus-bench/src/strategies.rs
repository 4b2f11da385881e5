//! Ways to wait for acknowledgements, for showing what each costs. All but the engine's are
//! mistakes that have been made; nothing else uses them.

use eventbus_core::{Error, ErrorKind};

use crate::measure::{Job, Place, Sample, Strategy};

#[cfg(feature = "nats")]
mod wrong;

#[cfg(feature = "nats")]
pub(crate) async fn measure(strategy: Strategy, job: &Job, place: &Place) -> Result<Sample, Error> {
    if job.backend != "nats" {
        return Err(unsupported(strategy, job, place));
    }
    wrong::measure(strategy, job, place).await
}

#[cfg(not(feature = "nats"))]
#[allow(clippy::unused_async, reason = "it is one with the feature")]
pub(crate) async fn measure(strategy: Strategy, job: &Job, place: &Place) -> Result<Sample, Error> {
    Err(unsupported(strategy, job, place))
}

fn unsupported(strategy: Strategy, job: &Job, place: &Place) -> Error {
    let message = "this way of waiting is measured on NATS only, with the feature `nats`";
    Error::new(ErrorKind::Unsupported, message)
        .with_context("strategy", strategy)
        .with_context("backend", &job.backend)
        .with_context("topic", &place.topic)
}
