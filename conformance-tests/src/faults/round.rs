//! One round: a workload, what happens to it, and what came out.

use std::{fmt, sync::Arc, time::Duration};

use eventbus_conformance::{
    Context, Failure, Harness, Result,
    workload::{Mode, Promises, Report, Workload, check},
};

use super::{Nemesis, Strike, place::Place, site::Site};

/// Acknowledgements before something happens, and after it is over.
const SOME: u64 = 100;

/// What is done in one round, all of it drawn from the seed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Round {
    pub(crate) place: Place,
    pub(crate) mode: Mode,
    /// What happens, all at the same time; the last one gives the round its name.
    pub(crate) strikes: Vec<Strike>,
    pub(crate) members: usize,
    pub(crate) per_key: bool,
    pub(crate) retry: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.place, self.mode.as_str())?;
        for strike in &self.strikes {
            write!(f, ", {strike}")?;
        }
        write!(f, ", {} members", self.members)?;
        if self.per_key {
            f.write_str(" per key")?;
        }
        if !self.retry.is_zero() {
            write!(f, ", retry {}s", self.retry.as_secs())?;
        }
        Ok(())
    }
}

/// What came out of a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    /// Which anomalies must not be.
    pub(crate) promises: Promises,
    /// From the end of what happened to the first new acknowledgement.
    pub(crate) recovery: Duration,
}

impl Outcome {
    /// How many anomalies break a promise.
    pub(crate) fn broken(&self) -> usize {
        self.report.broken(&self.promises).count()
    }
}

impl Round {
    pub(crate) fn nemesis(&self) -> Nemesis {
        self.strikes.last().map_or(Nemesis::Calm, |strike| strike.nemesis)
    }

    fn workload(&self) -> Workload {
        let mut workload = Workload::new(self.mode);
        workload.members = self.members;
        workload.per_key = self.per_key;
        workload.retry_max_elapsed = self.retry;
        if self.strikes.iter().any(|strike| strike.nemesis == Nemesis::MemberKilled) {
            // What it held comes again after this time.
            workload.ack_wait = Duration::from_secs(3);
        }
        workload
    }

    /// Runs it. Cancelled, the workload is aborted and the broker is as it is.
    ///
    /// # Errors
    /// When the workload does not start, go on or come to its end: something is stuck.
    pub(crate) async fn run(&self, site: Arc<dyn Site>) -> Result<Outcome> {
        let harness: Arc<dyn Harness> = site.clone();
        let mut run = self.workload().start(&Context::new(harness)).await?;
        if run.capabilities().atomic_batch != self.place.has_atomic_batches() {
            return Err(Failure::new("the plan is wrong about the atomic batches of this place"));
        }
        run.flows(SOME).await?;
        for strike in &self.strikes {
            strike.begin(&*site, &mut run).await?;
        }
        let hold = self.strikes.iter().map(|strike| strike.hold).max();
        tokio::time::sleep(hold.unwrap_or_default()).await;
        for strike in self.strikes.iter().rev() {
            strike.heal(&*site, &mut run).await?;
        }
        let recovery = run.flows(1).await?;
        run.flows(SOME).await?;
        let promises = site.promises(self.nemesis(), &run.capabilities());
        let report = check(&run.finish().await?);
        Ok(Outcome { report, promises, recovery })
    }
}
