//! What came out, as a table.

use std::fmt;

use eventbus_conformance::workload::{Kind, Promises, Report};

use super::program::Summary;

/// What a pipe promises: copies are at least once. Nobody was to deliver or to count.
pub(super) fn promises() -> Promises {
    Promises::all().without(Kind::Duplicated).without(Kind::Undelivered).without(Kind::Miscounted)
}

/// What one pipe did, and what is at its end.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) name: &'static str,
    pub(super) summary: Summary,
    pub(super) report: Report,
}

#[derive(Debug, Default)]
pub(super) struct Table(Vec<Hop>);

impl Table {
    pub(super) fn add(&mut self, hop: Hop) {
        self.0.push(hop);
    }

    /// How many promises were broken.
    pub(super) fn broken(&self) -> usize {
        let promises = promises();
        self.0.iter().map(|hop| hop.report.broken(&promises).count()).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| hop           | events | copied | stored | lost | inverted | foreign | duplicated | \
             known | retried | unacked | gaps | seconds |\n\
             |---------------|-------:|-------:|-------:|-----:|---------:|--------:|-----------:|\
             ------:|--------:|--------:|-----:|--------:|"
        )?;
        for Hop { name, summary, report } in &self.0 {
            writeln!(
                f,
                "| {name} | {:>6} | {:>6} | {:>6} | {:>4} | {:>8} | {:>7} | {:>10} | {:>5} | {:>7} \
                 | {:>7} | {:>4} | {:>7.1} |",
                report.totals.operations,
                summary.copied,
                report.totals.stored,
                report.count(Kind::Lost),
                report.count(Kind::Inverted),
                report.count(Kind::Unexpected),
                report.count(Kind::Duplicated),
                summary.already_there,
                summary.retried,
                summary.unacknowledged,
                summary.gaps,
                summary.seconds,
            )?;
        }
        let lost: u64 = self.0.iter().map(|hop| hop.report.count(Kind::Lost)).sum();
        let inverted: u64 = self.0.iter().map(|hop| hop.report.count(Kind::Inverted)).sum();
        let verdict = if self.broken() == 0 { "ok" } else { "BROKEN" };
        write!(f, "total: {lost} lost, {inverted} out of order: {verdict}")
    }
}
