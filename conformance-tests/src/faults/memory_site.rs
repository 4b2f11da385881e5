//! The broker in this process: it cannot die, but it can refuse and keep its answers.

use std::sync::Arc;

use async_trait::async_trait;
use eventbus_conformance::{
    Failure, Harness, Request, Result,
    workload::{Promises, Running},
};
use eventbus_core::{Capabilities, Error, ErrorKind, EventBus};
use eventbus_memory::testing::Probe;

use super::{Nemesis, site::Site};
use crate::Memory;

/// Sends that a refusing broker refuses for good, and hands back to be tried again.
const REFUSED: usize = 20;
const HANDED_BACK: usize = 60;

/// A broker of its own.
#[derive(Default)]
pub(crate) struct MemorySite(Memory);

#[async_trait]
impl Harness for MemorySite {
    fn name(&self) -> &str {
        "memory"
    }

    async fn connect(&self, request: Request) -> Result<Arc<dyn EventBus>, Error> {
        self.0.connect(request).await
    }
}

#[async_trait]
impl Site for MemorySite {
    /// No connection can be lost, so nothing is excused.
    fn promises(&self, _: Nemesis, _: &Capabilities) -> Promises {
        Promises::all()
    }

    fn refuse(&self, run: &Running, on: bool) -> Result {
        if on {
            let probe = probe(run)?;
            probe.fail_next(REFUSED, Error::new(ErrorKind::Rejected, "not these"));
            probe.hand_back_next(HANDED_BACK, Error::new(ErrorKind::Unavailable, "not now"));
        }
        Ok(())
    }

    fn hold_answers(&self, run: &Running, on: bool) -> Result {
        let probe = probe(run)?;
        match on {
            true => probe.hold_acks(),
            false => probe.release_acks(),
        }
        Ok(())
    }
}

fn probe(run: &Running) -> Result<Probe> {
    Probe::of(&**run.publisher()).ok_or_else(|| Failure::new("this is no memory bus"))
}
