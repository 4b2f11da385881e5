//! The short runs: one round for each place and nemesis, as named tests.

use eventbus_conformance::workload::Mode;
use libtest_mimic::{Completion, Failed, Trial};
use tokio::sync::Semaphore;

use super::{Nemesis, member, place::Place, plan::round};

/// What each is drawn from, so that a failure can be repeated.
const SEED: u64 = 1;

/// How many JVMs may run at once: one that starts takes a processor for seconds, and whoever waits
/// for it has a deadline.
static JVMS: Semaphore = Semaphore::const_new(3);

/// What there is to test, as `place::nemesis`, where a mode is drawn for each, and as
/// `place::nemesis::atomic`. `program` is this package's program: processes that are members of a
/// group are started from it.
#[must_use]
pub fn trials(program: &str) -> Vec<Trial> {
    member::started_from(program);
    let mut trials = Vec::new();
    for place in Place::ALL {
        for nemesis in place.nemeses().iter().copied().filter(|nemesis| is_short(*place, *nemesis))
        {
            let name = format!("{place}::{nemesis}");
            trials.push(Trial::ignorable_test(name.clone(), move || test(*place, nemesis, None)));
            if may_tear(nemesis) {
                let mode = Some(Mode::Atomic);
                let test = move || test(*place, nemesis, mode);
                trials.push(Trial::ignorable_test(format!("{name}::atomic"), test));
            }
        }
    }
    trials
}

/// Three JVMs take so long to start that only what needs a cluster is tried with them here.
fn is_short(place: Place, nemesis: Nemesis) -> bool {
    place != Place::KafkaCluster || matches!(nemesis, Nemesis::LeaderKill | Nemesis::RollingRestart)
}

/// What may tear an atomic batch; listed also for places that have none.
const fn may_tear(nemesis: Nemesis) -> bool {
    use Nemesis::{Cut, DiskFull, HeldAcks, Kill, LeaderKill, LimitReached, Refusals};
    matches!(nemesis, Kill | LeaderKill | Cut | LimitReached | DiskFull | Refusals | HeldAcks)
}

fn test(place: Place, nemesis: Nemesis, mode: Option<Mode>) -> Result<Completion, Failed> {
    if let Some(what) = place.missing() {
        return Ok(Completion::ignored_with(format!("needs {what}")));
    }
    if mode == Some(Mode::Atomic) && !place.has_atomic_batches() {
        return Ok(Completion::ignored_with("needs the capability atomic_batch"));
    }
    let seed = SEED + nemesis as u64 * 100 + place as u64;
    let mut round = round(&mut fastrand::Rng::with_seed(seed), place, nemesis);
    round.mode = mode.unwrap_or(round.mode);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let _permits = JVMS.acquire_many(place.jvms()).await?;
        round.run(place.start().await?).await
    });
    let outcome = outcome.map_err(|failure| format!("{round}: {failure}"))?;
    match outcome.broken() == 0 {
        true => Ok(Completion::Completed),
        false => Err(format!("{round}: {}", outcome.report).into()),
    }
}
