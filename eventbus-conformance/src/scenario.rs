//! The table of scenarios and how one is run.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use eventbus_core::Capabilities;

use crate::{Context, Failure, Feature, Harness, Request, Result};

/// The longest that a scenario may take in all.
const LIMIT: Duration = Duration::from_secs(600);

type Run = fn(Context) -> Pin<Box<dyn Future<Output = Result> + Send>>;

/// One promise and how it is tried.
pub struct Scenario {
    module: &'static str,
    name: &'static str,
    needs: &'static [Need],
    run: Run,
}

impl Scenario {
    pub(crate) const fn new(
        module: &'static str,
        name: &'static str,
        needs: &'static [Need],
        run: Run,
    ) -> Self {
        Self { module, name, needs, run }
    }

    /// The group of promises that it belongs to, for example `order`.
    #[must_use]
    pub const fn module(&self) -> &'static str {
        self.module
    }

    /// The name of the function.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it needs in order to be applicable.
    #[must_use]
    pub const fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// Whether it counts tasks, threads and descriptors, so that it must have a runtime and
    /// a process to itself.
    #[must_use]
    pub fn runs_alone(&self) -> bool {
        self.module == "leaks"
    }

    /// Runs it in the current Tokio runtime, which must be multi-threaded. A panic in the
    /// scenario is passed on.
    pub async fn run(&self, harness: Arc<dyn Harness>) -> Verdict {
        match self.missing(&harness).await {
            Ok(None) => {}
            Ok(Some(need)) => return Verdict::NotApplicable(need.as_str()),
            Err(failure) => return Verdict::Failed(failure),
        }
        match tokio::time::timeout(LIMIT, (self.run)(Context::new(harness))).await {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(failure)) => Verdict::Failed(failure),
            Err(_) => Verdict::Failed(Failure::new(format!("not finished within {LIMIT:?}"))),
        }
    }

    /// The first need that is not met. Connects only to ask for capabilities.
    async fn missing(&self, harness: &Arc<dyn Harness>) -> Result<Option<Need>> {
        let lacks_feature = |need: &&Need| match need {
            Need::Feature(feature) => !harness.features().contains(feature),
            Need::Capability { .. } => false,
        };
        if let Some(need) = self.needs.iter().find(lacks_feature) {
            return Ok(Some(*need));
        }
        let is_capability = |need: &Need| matches!(need, Need::Capability { .. });
        if !self.needs.iter().any(is_capability) {
            return Ok(None);
        }
        let bus = harness.connect(Request::default()).await?;
        let capabilities = bus.capabilities();
        bus.close().await?;
        let lacks_capability = |need: &&Need| match need {
            Need::Feature(_) => false,
            Need::Capability { has, .. } => !has(&capabilities),
        };
        Ok(self.needs.iter().find(lacks_capability).copied())
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scenario({}::{})", self.module, self.name)
    }
}

/// What a scenario needs in order to be applicable.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Need {
    /// Something that the harness must be able to do.
    Feature(Feature),
    /// Something that the backend must promise.
    Capability {
        /// The name of the field.
        name: &'static str,
        /// Whether the backend has it.
        has: fn(&Capabilities) -> bool,
    },
}

impl Need {
    pub(crate) const fn capability(name: &'static str, has: fn(&Capabilities) -> bool) -> Self {
        Self::Capability { name, has }
    }

    /// The need in words, as it stands in reports.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Feature(feature) => feature.as_str(),
            Self::Capability { name, .. } => name,
        }
    }
}

/// What became of a scenario on a backend.
#[derive(Debug)]
pub enum Verdict {
    /// The promise was kept.
    Passed,
    /// It was not, or could not be tried.
    Failed(Failure),
    /// The backend or the harness does not have what it needs, named here.
    NotApplicable(&'static str),
}

/// The scenarios of a module, with what each needs.
macro_rules! table {
    ($module:literal: $($name:ident $(needs [$($need:expr),+ $(,)?])?),+ $(,)?) => {
        pub(crate) const SCENARIOS: &[$crate::Scenario] = &[$(
            $crate::Scenario::new(
                $module,
                stringify!($name),
                &[$($($need),+)?],
                |ctx| Box::pin($name(ctx)),
            )
        ),+];
    };
}
pub(crate) use table;

/// All scenarios, by module.
pub fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    [
        crate::publish::SCENARIOS,
        crate::order::SCENARIOS,
        crate::ack::SCENARIOS,
        crate::groups::SCENARIOS,
        crate::raw::SCENARIOS,
        crate::faults::SCENARIOS,
        crate::leaks::SCENARIOS,
    ]
    .into_iter()
    .flatten()
}

/// The needs by their names, for the tables.
pub(crate) mod need {
    use super::Need;
    use crate::Feature;

    pub(crate) const FAIL_SENDS: Need = Need::Feature(Feature::FailSends);
    pub(crate) const HOLD_ACKS: Need = Need::Feature(Feature::HoldAcks);
    pub(crate) const UNANSWERED_CLOSE: Need = Need::Feature(Feature::UnansweredClose);
    pub(crate) const SINGLE_TOPICS: Need = Need::Feature(Feature::SingleTopics);
    pub(crate) const FAILED_CONNECT: Need = Need::Feature(Feature::FailedConnect);
    pub(crate) const PLANT: Need = Need::Feature(Feature::Plant);
    pub(crate) const PLANT_HEADERS: Need = Need::Feature(Feature::PlantHeaders);
    pub(crate) const RETENTION: Need = Need::Feature(Feature::Retention);
    pub(crate) const PARTITIONS: Need = Need::Feature(Feature::Partitions);
    pub(crate) const RESTART: Need = Need::Feature(Feature::Restart);
    pub(crate) const PAUSE: Need = Need::Feature(Feature::Pause);
    pub(crate) const DURABLE: Need = Need::capability("durable", |c| c.durable);
    pub(crate) const ORDERED_ACROSS_RECONNECT: Need =
        Need::capability("ordered_across_reconnect", |c| c.ordered_across_reconnect);
    pub(crate) const IDEMPOTENT_PUBLISH: Need =
        Need::capability("idempotent_publish", |c| c.idempotent_publish);
    pub(crate) const ATOMIC_BATCH: Need = Need::capability("atomic_batch", |c| c.atomic_batch);
    pub(crate) const ENGINE_RETRY: Need =
        Need::capability("retries by the engine", |c| !c.native_retry);
    pub(crate) const PER_KEY_ACROSS_GROUP: Need =
        Need::capability("per_key_across_group", |c| c.per_key_across_group);
    pub(crate) const CUMULATIVE_ACK: Need =
        Need::capability("cumulative_ack", |c| c.cumulative_ack);
    pub(crate) const GROUP_OPTIONS_CHECKED: Need =
        Need::capability("group_options_checked", |c| c.group_options_checked);
    pub(crate) const START_AT_TIME: Need = Need::capability("start_at_time", |c| c.start_at_time);
    pub(crate) const SHARED_MESSAGES: Need =
        Need::capability("shared_messages", |c| c.shared_messages);
    pub(crate) const A_MISSING_CAPABILITY: Need = Need::capability("a missing capability", |c| {
        !(c.idempotent_publish && c.atomic_batch && c.cumulative_ack && c.start_at_time)
    });
}
