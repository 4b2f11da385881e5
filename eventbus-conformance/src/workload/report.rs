//! What the checker found, and which of it breaks a promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use eventbus_core::Capabilities;

use super::{Anomaly, Kind};

/// How many anomalies of one kind are shown one by one.
const SHOWN: usize = 5;

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Publishes, the refused ones included.
    pub operations: u64,
    /// Those that were acknowledged.
    pub acknowledged: u64,
    /// Those that certainly were not stored.
    pub failed: u64,
    /// Those that were reported as ambiguous.
    pub unknown: u64,
    /// Messages found in the topic.
    pub stored: u64,
    /// Deliveries to the group.
    pub delivered: u64,
}

/// What the checker found in one history.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// How much happened.
    pub totals: Totals,
    /// Why publishes failed, and how many of them.
    pub errors: BTreeMap<String, u64>,
    /// What may explain the rest, in words.
    pub notes: Vec<String>,
    /// What was wrong, promised or not.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// How many anomalies of this kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.anomalies.iter().filter(|anomaly| anomaly.kind() == kind).count() as u64
    }

    /// The anomalies that break one of these promises.
    pub fn broken<'a>(&'a self, promises: &'a Promises) -> impl Iterator<Item = &'a Anomaly> {
        self.anomalies.iter().filter(|anomaly| promises.includes(anomaly.kind()))
    }

    /// Whether all of these promises were kept.
    #[must_use]
    pub fn keeps(&self, promises: &Promises) -> bool {
        self.broken(promises).next().is_none()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { operations, acknowledged, failed, unknown, stored, delivered } = self.totals;
        write!(
            f,
            "{operations} operations, {acknowledged} acknowledged, {failed} failed, {unknown} \
             unknown, {stored} stored, {delivered} delivered"
        )?;
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        for (error, count) in &self.errors {
            write!(f, "\n{count} times {error}")?;
        }
        for kind in Kind::ALL {
            let anomalies = || self.anomalies.iter().filter(|anomaly| anomaly.kind() == *kind);
            for anomaly in anomalies().take(SHOWN) {
                write!(f, "\n{anomaly}")?;
            }
            if let Some(more) = anomalies().count().checked_sub(SHOWN).filter(|more| *more > 0) {
                write!(f, "\n{kind}: and {more} more")?;
            }
        }
        Ok(())
    }
}

/// Which anomalies must not be. Everything is promised unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promises {
    not: BTreeSet<Kind>,
}

impl Promises {
    /// No anomaly at all.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// What holds when connections get lost or brokers die.
    ///
    /// The order of a key holds where the backend promises that. An acknowledgement that was
    /// confirmed may be followed by a delivery that the broker had sent before, because it took
    /// the lost connection for a lost reader; and a broker that dies may have forgotten it.
    ///
    /// A client that sends again by itself (`native_retry`) may store an envelope twice: when one
    /// is given up, those behind it are sent anew, and their first sending may have been stored
    /// with only its answer lost.
    #[must_use]
    pub fn across_reconnect(capabilities: &Capabilities) -> Self {
        let mut promises = Self::all().without(Kind::SettledRedelivered);
        if capabilities.native_retry {
            promises = promises.without(Kind::Duplicated);
        }
        match capabilities.ordered_across_reconnect {
            true => promises,
            false => promises.without(Kind::Inverted),
        }
    }

    /// Not this one.
    #[must_use]
    pub fn without(mut self, kind: Kind) -> Self {
        self.not.insert(kind);
        self
    }

    /// Whether it is promised that there is none of this kind.
    #[must_use]
    pub fn includes(&self, kind: Kind) -> bool {
        !self.not.contains(&kind)
    }
}
