//! The client libraries, used directly: what the bus is compared with, since nothing on them
//! can be faster.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(any(feature = "nats", feature = "kafka"))]
mod meter;
#[cfg(feature = "nats")]
pub(crate) mod nats;

use eventbus_core::{Error, ErrorKind};

use crate::measure::{Job, Place, Sample};
#[cfg(feature = "nats")]
pub(crate) use meter::Meter;

/// Whether this build can use the client of a backend directly.
#[must_use]
pub fn has_client(backend: &str) -> bool {
    (backend == "nats" && cfg!(feature = "nats")) || (backend == "kafka" && cfg!(feature = "kafka"))
}

pub(crate) async fn measure(job: &Job, place: &Place) -> Result<Sample, Error> {
    match job.backend.as_str() {
        #[cfg(feature = "nats")]
        "nats" => nats::measure(job, place).await,
        #[cfg(feature = "kafka")]
        "kafka" => kafka::measure(job, place).await,
        _ => Err(unsupported(job, place)),
    }
}

fn unsupported(job: &Job, place: &Place) -> Error {
    let message = "there is no client to measure directly; build with the feature of the backend";
    Error::new(ErrorKind::Unsupported, message)
        .with_context("backend", &job.backend)
        .with_context("topic", &place.topic)
}
