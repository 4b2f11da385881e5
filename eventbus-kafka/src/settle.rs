//! Settling deliveries.

use std::{fmt, sync::Arc};

use eventbus_core::{
    Error, ErrorKind,
    backend::{Settlement, Settler, Settling, Token},
};

use crate::{
    consumer::{Phase, Settled, Shared, closed, unconfirmed},
    error::error,
};

/// Takes the settlements of one subscription.
pub(crate) struct KafkaSettler(pub(crate) Arc<Shared>);

impl Settler for KafkaSettler {
    fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        let (settled, wake) = {
            let mut desk = self.0.desk();
            if desk.phase == Phase::Closed {
                return Settling::Done(Err(closed()));
            }
            let (settled, wake) = desk.settle(token, settlement);
            let settling = match settled {
                Settled::Done => Settling::Done(Ok(())),
                Settled::Expired => Settling::Done(Err(expired())),
                Settled::Confirming(partition, offset) => {
                    let confirmation = desk.partitions.confirmation(partition, offset);
                    Settling::Waiting(Box::pin(async move {
                        confirmation.await.unwrap_or_else(|_| Err(unconfirmed()))
                    }))
                }
            };
            (settling, wake)
        };
        if wake {
            self.0.signal.notify();
        }
        settled
    }

    fn abandon(&self, token: Token) {
        let wake = self.0.desk().abandon(token);
        if wake {
            self.0.signal.notify();
        }
    }
}

fn expired() -> Error {
    error(
        ErrorKind::Expired,
        "the delivery was settled already, or its time was over, or its partition moved to \
         another member of the group: another attempt has it",
    )
}

impl fmt::Debug for KafkaSettler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettler").finish_non_exhaustive()
    }
}
