//! Settling where deliveries may have expired meanwhile.

use eventbus_core::{Delivery, ErrorKind, SettleError};

use crate::{Failure, Result};

/// Whether a settlement took hold: false when the delivery has expired and comes again.
#[track_caller]
pub(crate) fn settle(outcome: Result<(), SettleError>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Expired => Ok(false),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// Acknowledges all of them.
pub(crate) async fn ack_all_of(deliveries: Vec<Delivery>) -> Result {
    Delivery::ack_all(deliveries)
        .await
        .map_err(|errors| Failure::new(format!("not acknowledged: {errors:?}")))
}
