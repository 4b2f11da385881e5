//! How a bus is doing.

use std::time::Duration;

use serde::Serialize;

use crate::TopicFilter;

/// The state of a bus as seen from this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// Something needs attention while messages may still flow.
    Degraded,
    /// The broker cannot be used at the moment.
    Unavailable,
    /// The bus is closed.
    Closed,
}

/// The health of a bus and of each of its subscriptions.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The state in one word.
    pub status: HealthStatus,
    /// What is wrong, in words; empty when healthy.
    pub problems: Vec<String>,
    /// The open subscriptions.
    pub subscriptions: Vec<SubscriptionHealth>,
}

impl Health {
    /// A health without problems.
    #[must_use]
    pub fn healthy() -> Self {
        Self::new(HealthStatus::Healthy)
    }

    /// A health of `status`, with neither problems nor subscriptions yet.
    #[must_use]
    pub fn new(status: HealthStatus) -> Self {
        Self { status, problems: Vec::new(), subscriptions: Vec::new() }
    }

    /// Adds a problem; a healthy status becomes degraded.
    #[must_use]
    pub fn with_problem(mut self, problem: impl Into<String>) -> Self {
        self.problems.push(problem.into());
        if self.status == HealthStatus::Healthy {
            self.status = HealthStatus::Degraded;
        }
        self
    }

    /// Whether everything works.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.status == HealthStatus::Healthy
    }
}

impl SubscriptionHealth {
    /// The health of a subscription without trouble.
    #[must_use]
    pub fn new(filter: TopicFilter, group: Option<String>) -> Self {
        Self { filter, group, in_flight: 0, stalled: None, problem: None }
    }
}

/// The health of one subscription.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SubscriptionHealth {
    /// What it selects.
    pub filter: TopicFilter,
    /// Its group, if it has one.
    pub group: Option<String>,
    /// Messages handed out and not settled.
    pub in_flight: usize,
    /// How long it has been waiting at `max_in_flight`; `None` when it is not.
    pub stalled: Option<Duration>,
    /// The last trouble that it met and is getting over, in words.
    pub problem: Option<String>,
}
