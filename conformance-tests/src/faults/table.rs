//! What came out of all rounds, as a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use eventbus_conformance::workload::{Kind, Mode};

use super::{
    Nemesis,
    place::Place,
    round::{Outcome, Round},
};

/// The anomalies that have a column; the others only count as broken.
const COLUMNS: [(Kind, &str); 7] = [
    (Kind::Lost, "lost"),
    (Kind::Undelivered, "undelivered"),
    (Kind::Unexpected, "unexpected"),
    (Kind::Inverted, "inverted"),
    (Kind::DeliveredOutOfOrder, "reordered"),
    (Kind::Duplicated, "duplicated"),
    (Kind::Torn, "torn"),
];

/// How often something happened although it must not, and how often where it may.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    broken: u64,
    excused: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.excused {
            0 => f.pad(&self.broken.to_string()),
            excused => f.pad(&format!("{} +{excused}*", self.broken)),
        }
    }
}

/// One line: the rounds of one place and nemesis, those of atomic batches by themselves.
#[derive(Debug, Clone, Default)]
struct Line {
    rounds: u64,
    operations: u64,
    acknowledged: u64,
    counts: [Count; COLUMNS.len()],
    /// Promises broken, and rounds that did not come to their end.
    broken: u64,
    recovery: Vec<Duration>,
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            count.broken += other.broken;
            count.excused += other.excused;
        }
        self.broken += other.broken;
        self.recovery.extend(&other.recovery);
    }

    fn of(outcome: &Outcome) -> Self {
        let counts = COLUMNS.map(|(kind, _)| {
            let count = outcome.report.count(kind);
            match outcome.promises.includes(kind) {
                true => Count { broken: count, excused: 0 },
                false => Count { broken: 0, excused: count },
            }
        });
        Self {
            rounds: 1,
            operations: outcome.report.totals.operations,
            acknowledged: outcome.report.totals.acknowledged,
            counts,
            broken: outcome.broken() as u64,
            recovery: vec![outcome.recovery],
        }
    }

    fn stuck() -> Self {
        Self { rounds: 1, broken: 1, ..Self::default() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut recovery = self.recovery.clone();
        recovery.sort_unstable();
        let median = recovery.get(recovery.len() / 2).copied().unwrap_or_default();
        let longest = recovery.last().copied().unwrap_or_default();
        write!(f, "{:>6} | {:>10} | {:>12} | ", self.rounds, self.operations, self.acknowledged)?;
        for count in self.counts {
            write!(f, "{count:>11} | ")?;
        }
        write!(f, "{:>6} | {:>8} | {:>8}", self.broken, median.as_millis(), longest.as_millis())
    }
}

/// The results so far.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<(Place, Nemesis, bool), Line>);

impl Table {
    pub(crate) fn add(&mut self, round: &Round, outcome: &Outcome) {
        self.line(round).add(&Line::of(outcome));
    }

    pub(crate) fn add_stuck(&mut self, round: &Round) {
        self.line(round).add(&Line::stuck());
    }

    fn line(&mut self, round: &Round) -> &mut Line {
        let atomic = round.mode == Mode::Atomic;
        self.0.entry((round.place, round.nemesis(), atomic)).or_default()
    }

    /// How many promises were broken in all.
    pub(crate) fn broken(&self) -> u64 {
        self.0.values().map(|line| line.broken).sum()
    }

    pub(crate) fn total(&self) -> impl fmt::Display {
        let mut total = Line::default();
        for line in self.0.values() {
            total.add(line);
        }
        total
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {:<36} | rounds | operations | acknowledged | ", "broker and nemesis")?;
        for (_, name) in COLUMNS {
            write!(f, "{name:>11} | ")?;
        }
        writeln!(f, "broken | recovery |  longest |")?;
        write!(f, "|{:-<38}|-------:|-----------:|-------------:|", "")?;
        for _ in COLUMNS {
            write!(f, "------------:|")?;
        }
        writeln!(f, "-------:|---------:|---------:|")?;
        for ((place, nemesis, atomic), line) in &self.0 {
            let name = format!("{place} {nemesis}{}", if *atomic { " atomic" } else { "" });
            writeln!(f, "| {name:<36} | {line} |")?;
        }
        Ok(())
    }
}
