//! What came out of all rounds, as a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use eventbus_conformance::workload::Kind;

use super::{
    Nemesis,
    place::Place,
    round::{Outcome, Round},
};

/// One line: the rounds of one place and nemesis.
#[derive(Debug, Clone, Default)]
struct Line {
    rounds: u64,
    operations: u64,
    acknowledged: u64,
    lost: u64,
    unexpected: u64,
    inversions: u64,
    duplicates: u64,
    /// Promises broken, and rounds that did not come to their end.
    broken: u64,
    recovery: Vec<Duration>,
}

impl Line {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.unexpected += other.unexpected;
        self.inversions += other.inversions;
        self.duplicates += other.duplicates;
        self.broken += other.broken;
        self.recovery.extend(&other.recovery);
    }

    fn of(outcome: &Outcome) -> Self {
        let count = |kind| outcome.report.count(kind);
        Self {
            rounds: 1,
            operations: outcome.report.totals.operations,
            acknowledged: outcome.report.totals.acknowledged,
            lost: count(Kind::Lost) + count(Kind::Undelivered),
            unexpected: count(Kind::Unexpected),
            inversions: count(Kind::Inverted) + count(Kind::DeliveredOutOfOrder),
            duplicates: count(Kind::Duplicated),
            broken: outcome.broken.len() as u64,
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
        write!(
            f,
            "{:>6} | {:>10} | {:>12} | {:>6} | {:>10} | {:>10} | {:>10} | {:>6} | {:>9} | {:>9}",
            self.rounds,
            self.operations,
            self.acknowledged,
            self.lost,
            self.unexpected,
            self.inversions,
            self.duplicates,
            self.broken,
            format!("{} ms", median.as_millis()),
            format!("{} ms", longest.as_millis()),
        )
    }
}

/// The results so far.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<(Place, Nemesis), Line>);

impl Table {
    pub(crate) fn add(&mut self, round: &Round, outcome: &Outcome) {
        self.line(round).add(&Line::of(outcome));
    }

    pub(crate) fn add_stuck(&mut self, round: &Round) {
        self.line(round).add(&Line::stuck());
    }

    fn line(&mut self, round: &Round) -> &mut Line {
        self.0.entry((round.place, round.nemesis())).or_default()
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
        writeln!(
            f,
            "| {:<36} | rounds | operations | acknowledged | lost   | unexpected | inversions \
             | duplicates | broken | recovery  | longest   |",
            "broker and nemesis"
        )?;
        writeln!(
            f,
            "|{:-<38}|-------:|-----------:|-------------:|-------:|-----------:|-----------:\
             |-----------:|-------:|----------:|----------:|",
            ""
        )?;
        for ((place, nemesis), line) in &self.0 {
            let name = format!("{place} {nemesis}");
            writeln!(f, "| {name:<36} | {line} |")?;
        }
        Ok(())
    }
}
