//! What can happen to a broker, its connections and its readers, and how it is undone.

use std::{fmt, time::Duration};

use eventbus_conformance::{Failure, Result, workload::Running};

use super::{member, site::Site};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Nemesis {
    /// Nothing.
    Calm,
    /// A server is killed, and started again on its store.
    Kill,
    /// A server is frozen, and goes on.
    Freeze,
    /// The servers are stopped in order and started again, one after the other.
    RollingRestart,
    /// The leader of the topic is killed, and started again.
    LeaderKill,
    /// The connections are closed, and nobody gets through.
    Cut,
    /// Everything takes longer.
    Delay,
    /// Little gets through at a time.
    Throttle,
    /// The connections stay open and carry nothing any more.
    HalfOpen,
    /// The connections carry nothing, are given up, and what was on its way arrives later.
    StaleTail,
    /// Another process of the group is killed while it holds deliveries.
    MemberKilled,
    /// Members of the group come and go.
    Churn,
    /// Members of the group take their time.
    SlowMembers,
    /// The broker's disk is full, and has room again.
    DiskFull,
    /// The topic, or the stream that holds it, is deleted.
    TopicDeleted,
    /// The topic may not grow any more, and then may.
    LimitReached,
    /// The broker refuses and hands back, and the engine has to retry.
    Refusals,
    /// Acknowledgements are held back, and come too late.
    HeldAcks,
}

impl Nemesis {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::RollingRestart => "rolling-restart",
            Self::LeaderKill => "leader-kill",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Throttle => "throttle",
            Self::HalfOpen => "half-open",
            Self::StaleTail => "stale-tail",
            Self::MemberKilled => "member-killed",
            Self::Churn => "churn",
            Self::SlowMembers => "slow-members",
            Self::DiskFull => "disk-full",
            Self::TopicDeleted => "topic-deleted",
            Self::LimitReached => "limit-reached",
            Self::Refusals => "refusals",
            Self::HeldAcks => "held-acks",
        }
    }

    /// Whether it can happen at the same time as another, because it does nothing to the broker.
    pub(crate) const fn goes_along(self) -> bool {
        matches!(self, Self::Churn | Self::SlowMembers | Self::MemberKilled)
    }

    /// Whether connections may get lost.
    pub(crate) const fn loses_connections(self) -> bool {
        use Nemesis::{
            Cut, DiskFull, Freeze, HalfOpen, Kill, LeaderKill, RollingRestart, StaleTail,
        };
        matches!(
            self,
            Kill | Freeze | RollingRestart | LeaderKill | Cut | HalfOpen | StaleTail | DiskFull
        )
    }
}

impl fmt::Display for Nemesis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that happens: what, to whom, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) nemesis: Nemesis,
    /// Which server, of as many as there are.
    pub(crate) target: usize,
    pub(crate) hold: Duration,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.1}s", self.nemesis, self.hold.as_secs_f64())
    }
}

/// What slow members take for each delivery.
const WORK: Duration = Duration::from_millis(20);
/// What a slow network adds to each way.
const DELAY: Duration = Duration::from_millis(80);
/// Less than the workload needs.
const BYTES_PER_SECOND: u32 = 64 << 10;
/// Times that a member comes and another one goes.
const CHURN: usize = 3;

impl Strike {
    pub(crate) async fn begin(&self, site: &dyn Site, run: &mut Running) -> Result {
        match self.nemesis {
            Nemesis::Calm => {}
            Nemesis::Kill => site.kill(self.target)?,
            Nemesis::Freeze => site.freeze(self.target)?,
            Nemesis::RollingRestart => {
                for server in 0..site.servers() {
                    site.restart(server).await?;
                }
            }
            Nemesis::LeaderKill => site.kill(site.leader(run.topic()).await?)?,
            Nemesis::Cut => link(site)?.cut(),
            Nemesis::Delay => link(site)?.delay(DELAY),
            Nemesis::Throttle => link(site)?.throttle(BYTES_PER_SECOND),
            Nemesis::HalfOpen => link(site)?.half_open(),
            Nemesis::StaleTail => link(site)?.hold(),
            Nemesis::MemberKilled => member::kill_one(&site.url(), run).await?,
            Nemesis::Churn => {
                for _ in 0..CHURN {
                    run.join().await?;
                    tokio::time::sleep(self.hold / 10).await;
                    run.leave().await?;
                }
            }
            Nemesis::SlowMembers => run.work(WORK),
            Nemesis::DiskFull => site.fill_disk()?,
            Nemesis::TopicDeleted => site.delete(run.topic()).await?,
            Nemesis::LimitReached => site.limit(run.topic(), true).await?,
            Nemesis::Refusals => site.refuse(run, true)?,
            Nemesis::HeldAcks => site.hold_answers(run, true)?,
        }
        Ok(())
    }

    pub(crate) async fn heal(&self, site: &dyn Site, run: &mut Running) -> Result {
        match self.nemesis {
            Nemesis::Calm
            | Nemesis::RollingRestart
            | Nemesis::MemberKilled
            | Nemesis::Churn
            | Nemesis::TopicDeleted => {}
            Nemesis::Kill | Nemesis::LeaderKill => site.start_missing().await?,
            Nemesis::Freeze => site.thaw(self.target)?,
            Nemesis::Cut
            | Nemesis::Delay
            | Nemesis::Throttle
            | Nemesis::HalfOpen
            | Nemesis::StaleTail => link(site)?.heal(),
            Nemesis::SlowMembers => run.work(Duration::ZERO),
            Nemesis::DiskFull => site.free_disk().await?,
            Nemesis::LimitReached => site.limit(run.topic(), false).await?,
            Nemesis::Refusals => site.refuse(run, false)?,
            Nemesis::HeldAcks => site.hold_answers(run, false)?,
        }
        Ok(())
    }
}

fn link(site: &dyn Site) -> Result<&super::link::Link> {
    site.link().ok_or_else(|| Failure::new("nothing stands between the buses and this broker"))
}
