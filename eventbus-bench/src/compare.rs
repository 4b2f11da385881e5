//! Measurements side by side: a plan of cells, run in interleaved rounds, and what came of
//! it as rows.

mod about;
mod drive;
mod experiment;
mod html;
mod machine;
mod pictures;
mod plan;
mod row;
mod spread;
mod text;

use serde::{Deserialize, Serialize};

use crate::{Job, Sample};
pub use about::{parties, warnings};
pub use drive::{Step, best_batch, carry_out, to_tune};
pub use experiment::Experiment;
pub use machine::{Machine, Party};
pub use plan::{Cell, Plan, Selection, Shape, Target};
pub use row::{Ratio, Row};
pub use spread::Spread;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// What was compared, in words.
    pub title: String,
    /// The command that makes it, without secrets.
    pub command: String,
    /// What varied, if it is an experiment.
    pub experiment: Option<Experiment>,
    /// The machine.
    pub machine: Machine,
    /// Who took part.
    pub parties: Vec<Party>,
    /// Where settings differ, and what else a reader must know.
    pub warnings: Vec<String>,
    /// How many rounds were asked for.
    pub rounds: usize,
    /// After how many measurements it was stopped, if it was before the end.
    pub stopped_after: Option<usize>,
    /// One for each party in each cell.
    pub rows: Vec<Row>,
}

/// What was measured in one round of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// Which round, from 0.
    pub round: usize,
    /// The figures, or why there are none.
    pub outcome: Result<Sample, String>,
}

impl Comparison {
    /// A comparison without rows yet.
    #[must_use]
    pub fn new(title: impl Into<String>, machine: Machine, rounds: usize) -> Self {
        Self {
            title: title.into(),
            command: String::new(),
            experiment: None,
            machine,
            parties: Vec::new(),
            warnings: Vec::new(),
            rounds,
            stopped_after: None,
            rows: Vec::new(),
        }
    }

    /// Puts the runs of one job of a cell in its row.
    pub fn add(&mut self, cell: &Cell, job: &Job, run: Run) {
        let name = job.party();
        let known = self.rows.iter_mut().find(|row| row.cell == cell.id && row.party == name);
        match known {
            Some(row) => row.runs.push(run),
            None => self.rows.push(Row::new(cell, job, run)),
        }
    }

    /// The place of a party among all, which gives it its colour.
    fn series(&self, party: &str) -> usize {
        let known = self.parties.iter().position(|known| known.name == party);
        known.unwrap_or(self.parties.len())
    }

    /// The rows of a cell.
    pub fn of_cell(&self, cell: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.cell == cell)
    }

    /// How the bus compares with the raw client and with the tool of the same backend in the
    /// same cell, round by round; `None` for rows that are not of the bus, or have nothing to
    /// be compared with.
    #[must_use]
    pub fn ratio(&self, row: &Row, to: &str) -> Option<Ratio> {
        let other = self.of_cell(row.cell).find(|other| other.party == to)?;
        Ratio::of(row, other)
    }

    /// The rows that a row of the bus is compared with.
    pub fn rivals<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a Row> {
        self.of_cell(row.cell)
            .filter(move |other| row.is_bus && !other.is_bus && other.backend == row.backend)
    }

    /// Whether the bus did well everywhere: every run gave figures, every message was
    /// acknowledged, nothing was left behind and no order was violated.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rows.iter().filter(|row| row.is_bus).all(Row::is_clean)
    }

    /// Forgets how runs went over time, but for one typical run of each row.
    pub fn forget_timelines(&mut self) {
        self.rows.iter_mut().for_each(Row::forget_timelines);
    }
}
