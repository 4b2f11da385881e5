//! The brokers that a run can have, and one of each that is kept between rounds.

use std::{collections::HashMap, fmt, sync::Arc};

use eventbus_conformance::Result;

use super::{
    Nemesis, disk::SmallDisk, kafka_site::KafkaSite, memory_site::MemorySite, nats_site::NatsSite,
    site::Site,
};

/// A kind of broker together with how buses use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    Memory,
    Nats,
    NatsStrict,
    NatsCluster,
    NatsClusterStrict,
    NatsDisk,
    Kafka,
    KafkaCluster,
    KafkaDisk,
    NatsFast,
    NatsClusterFast,
}

const STRICT: &str = "strict_order=true";
const FAST: &str = "fast_ingest=always";

impl Place {
    pub(crate) const ALL: &'static [Self] = &[
        Self::Memory,
        Self::Nats,
        Self::NatsStrict,
        Self::NatsCluster,
        Self::NatsClusterStrict,
        Self::NatsDisk,
        Self::Kafka,
        Self::KafkaCluster,
        Self::KafkaDisk,
        Self::NatsFast,
        Self::NatsClusterFast,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Nats => "nats",
            Self::NatsStrict => "nats-strict",
            Self::NatsCluster => "nats-cluster",
            Self::NatsClusterStrict => "nats-cluster-strict",
            Self::NatsDisk => "nats-disk",
            Self::Kafka => "kafka",
            Self::KafkaCluster => "kafka-cluster",
            Self::KafkaDisk => "kafka-disk",
            Self::NatsFast => "nats-fast",
            Self::NatsClusterFast => "nats-cluster-fast",
        }
    }

    /// The scheme of its URLs.
    pub(crate) fn backend(self) -> &'static str {
        self.as_str().split('-').next().unwrap_or_default()
    }

    /// How many JVMs its brokers take.
    pub(crate) const fn jvms(self) -> u32 {
        match self {
            Self::Kafka | Self::KafkaDisk => 1,
            Self::KafkaCluster => 3,
            _ => 0,
        }
    }

    /// Whether its buses have the capability `atomic_batch`: rounds are planned before there are
    /// any, and check it.
    pub(crate) const fn has_atomic_batches(self) -> bool {
        matches!(self, Self::Memory | Self::Nats | Self::NatsCluster | Self::NatsDisk)
    }

    /// Why it cannot be had here, if it cannot.
    pub(crate) fn missing(self) -> Option<&'static str> {
        match self {
            Self::NatsDisk | Self::KafkaDisk if !SmallDisk::is_possible() => {
                Some("the right to mount a file system")
            }
            _ => None,
        }
    }

    /// What can happen there.
    pub(crate) const fn nemeses(self) -> &'static [Nemesis] {
        use Nemesis::{
            Calm, Churn, Cut, Delay, DiskFull, Freeze, HalfOpen, HeldAcks, Kill, LeaderKill,
            LimitReached, MemberKilled, Refusals, RollingRestart, SlowMembers, StaleTail, Throttle,
            TopicDeleted,
        };
        match self {
            Self::Memory => &[Calm, Churn, SlowMembers, Refusals, HeldAcks],
            Self::Nats | Self::NatsStrict | Self::NatsFast | Self::Kafka => &[
                Calm,
                Kill,
                Freeze,
                RollingRestart,
                Cut,
                Delay,
                Throttle,
                HalfOpen,
                StaleTail,
                MemberKilled,
                Churn,
                SlowMembers,
                TopicDeleted,
                LimitReached,
            ],
            Self::NatsCluster
            | Self::NatsClusterStrict
            | Self::NatsClusterFast
            | Self::KafkaCluster => {
                &[Kill, Freeze, RollingRestart, LeaderKill, MemberKilled, Churn]
            }
            Self::NatsDisk | Self::KafkaDisk => &[DiskFull],
        }
    }

    pub(crate) async fn start(self) -> Result<Arc<dyn Site>> {
        let name = self.as_str();
        Ok(match self {
            Self::Memory => Arc::new(MemorySite::default()),
            Self::Nats => Arc::new(NatsSite::linked(name, "").await?),
            Self::NatsStrict => Arc::new(NatsSite::linked(name, STRICT).await?),
            Self::NatsCluster => Arc::new(NatsSite::cluster(name, "").await?),
            Self::NatsClusterStrict => Arc::new(NatsSite::cluster(name, STRICT).await?),
            Self::NatsDisk => Arc::new(NatsSite::on_small_disk(name, "").await?),
            Self::Kafka => Arc::new(KafkaSite::linked(name).await?),
            Self::KafkaCluster => Arc::new(KafkaSite::cluster(name).await?),
            Self::KafkaDisk => Arc::new(KafkaSite::on_small_disk(name).await?),
            Self::NatsFast => Arc::new(NatsSite::linked(name, FAST).await?),
            Self::NatsClusterFast => Arc::new(NatsSite::cluster(name, FAST).await?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Rounds that a broker serves before it is replaced: what fills it up is part of the test.
const ROUNDS: usize = 10;

/// Brokers that have been started and are used again.
#[derive(Default)]
pub(crate) struct Sites(HashMap<Place, (usize, Arc<dyn Site>)>);

impl Sites {
    pub(crate) async fn get(&mut self, place: Place) -> Result<Arc<dyn Site>> {
        if let Some((rounds, site)) = self.0.get_mut(&place)
            && *rounds < ROUNDS
        {
            *rounds += 1;
            return Ok(site.clone());
        }
        self.forget(place);
        let site = place.start().await?;
        self.0.insert(place, (1, site.clone()));
        Ok(site)
    }

    /// After a round that failed the broker may be in any state.
    pub(crate) fn forget(&mut self, place: Place) {
        self.0.remove(&place);
    }
}
