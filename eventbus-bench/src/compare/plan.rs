//! Which cells a comparison has.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{Job, Load, Measured, Mode, Tool, has_client, is_there};
use eventbus_core::{Error, ErrorKind};

/// How the messages of a cell come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// So many at once, and then nothing: how long until all are acknowledged?
    Burst(u64),
    /// As many as take seconds.
    Sustained,
    /// The value of what an experiment varies.
    At(u64),
}

impl Shape {
    /// How large the burst is, or where on the axis it stands.
    #[must_use]
    pub const fn value(self) -> Option<u64> {
        match self {
            Self::Burst(value) | Self::At(value) => Some(value),
            Self::Sustained => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Burst(messages) => write!(f, "burst of {messages}"),
            Self::Sustained => f.write_str("sustained"),
            Self::At(value) => write!(f, "{value}"),
        }
    }
}

/// Jobs with the same load, which are compared with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cell {
    /// Its target in the plan.
    pub id: usize,
    /// How the messages come.
    pub shape: Shape,
    /// Who takes part, each with its load.
    pub jobs: Vec<Job>,
}

/// A bus that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// What to call it, if the backend does not tell it from others.
    pub name: Option<String>,
    /// Its URL.
    pub url: String,
}

impl Target {
    /// The bus at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { name: None, url: url.into() }
    }

    /// Gives it a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// The matrix to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// The buses.
    pub targets: Vec<Target>,
    /// The modes.
    pub modes: Vec<Mode>,
    /// The payloads in bytes.
    pub sizes: Vec<usize>,
    /// The sizes of the bursts.
    pub bursts: Vec<u64>,
    /// About how many bytes of payload a sustained run has; 0 for none. Mode `sync` has a
    /// fortieth of it.
    pub sustained_bytes: u64,
    /// Whether the raw clients take part.
    pub clients: bool,
    /// Whether the tools take part that are there.
    pub tools: bool,
}

/// A sustained run has at most so many messages, and at least so many.
const MOST_SUSTAINED: u64 = 2_000_000;
const LEAST_SUSTAINED: u64 = 2_000;

impl Selection {
    /// The whole matrix.
    #[must_use]
    pub fn full(targets: Vec<Target>) -> Self {
        Self {
            targets,
            modes: Mode::ALL.to_vec(),
            sizes: vec![256, 1024, 16 * 1024],
            bursts: vec![500, 2_000, 5_000, 10_000],
            sustained_bytes: 51_200_000,
            clients: true,
            tools: true,
        }
    }

    /// What can be done in two minutes.
    #[must_use]
    pub fn quick(targets: Vec<Target>) -> Self {
        Self { sizes: vec![256], bursts: vec![10_000], ..Self::full(targets) }
    }

    /// How many messages a sustained run has.
    #[must_use]
    pub fn sustained(&self, mode: Mode, size: usize) -> u64 {
        let messages = self.sustained_bytes / size.max(1) as u64;
        let messages = if mode == Mode::Sync { messages / 40 } else { messages };
        messages.clamp(LEAST_SUSTAINED, MOST_SUSTAINED)
    }

    fn shapes(&self, mode: Mode) -> Vec<Shape> {
        // A burst is published; consuming and waiting for each are not bursts.
        let bursts = matches!(mode, Mode::Async | Mode::Batch).then_some(&self.bursts);
        let bursts = bursts.into_iter().flatten().map(|messages| Shape::Burst(*messages));
        bursts.chain((self.sustained_bytes > 0).then_some(Shape::Sustained)).collect()
    }

    fn rivals(&self, backend: &str, mode: Mode, shape: Shape) -> Vec<Measured> {
        let client = (self.clients && has_client(backend)).then_some(Measured::Client);
        let tools: &[Tool] = match (backend, mode) {
            ("nats", Mode::Async) => &[Tool::NatsBench, Tool::NatsBenchFast],
            ("nats", _) => &[Tool::NatsBench],
            // It counts its connecting, which is most of a burst.
            ("kafka", Mode::Async | Mode::Consume) if shape == Shape::Sustained => {
                &[Tool::KafkaPerf]
            }
            _ => &[],
        };
        let there = tools.iter().copied().filter(|tool| self.tools && is_there(*tool));
        client.into_iter().chain(there.map(Measured::Tool)).collect()
    }
}

/// Cells, and how often they are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The cells.
    pub cells: Vec<Cell>,
    /// How often each is measured.
    pub rounds: usize,
}

impl Plan {
    /// The matrix of `selection`, measured `rounds` times.
    ///
    /// # Errors
    /// `InvalidConfig` when a URL is none, or two buses cannot be told apart.
    pub fn of(selection: &Selection, rounds: usize) -> Result<Self, Error> {
        let mut cells = Vec::new();
        for &mode in &selection.modes {
            for &size in &selection.sizes {
                for shape in selection.shapes(mode) {
                    let jobs = selection.jobs(mode, size, shape)?;
                    cells.push(Cell { id: cells.len(), shape, jobs });
                }
            }
        }
        Self::new(cells, rounds)
    }

    /// Rows are found by the name of their party.
    pub(super) fn new(cells: Vec<Cell>, rounds: usize) -> Result<Self, Error> {
        for Cell { jobs, .. } in &cells {
            let mut parties = HashSet::new();
            if let Some(twice) =
                jobs.iter().map(Job::party).find(|one| !parties.insert(one.clone()))
            {
                let message = "two of the buses would be one row of the tables; give each a name, \
                               `NAME=URL`, or only one where the rows are ways to use it";
                return Err(
                    Error::new(ErrorKind::InvalidConfig, message).with_context("row", twice)
                );
            }
        }
        Ok(Self { cells, rounds })
    }

    /// The order of all measurements: rounds, and in each the parties of a cell one after the
    /// other, forwards in even rounds and backwards in odd ones, so that a drift of the machine
    /// favours nobody.
    pub fn steps(&self) -> impl Iterator<Item = (usize, &Cell, &Job)> {
        (0..self.rounds).flat_map(move |round| {
            self.cells.iter().flat_map(move |cell| {
                let forwards = cell.jobs.iter();
                let mut order: Vec<&Job> = forwards.collect();
                if !round.is_multiple_of(2) {
                    order.reverse();
                }
                order.into_iter().map(move |job| (round, cell, job))
            })
        })
    }

    /// How many measurements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rounds * self.cells.iter().map(|cell| cell.jobs.len()).sum::<usize>()
    }

    /// Whether there is nothing to measure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has every tool send or ask for `batch` messages at a time, in the cells of `mode`.
    pub fn set_tool_batch(&mut self, tool: Tool, mode: Mode, batch: usize) {
        let jobs = self.cells.iter_mut().flat_map(|cell| &mut cell.jobs);
        for job in jobs.filter(|job| job.measured == Measured::Tool(tool)) {
            if job.load.mode == mode {
                job.tool_batch = batch;
            }
        }
    }
}

impl Selection {
    fn jobs(&self, mode: Mode, size: usize, shape: Shape) -> Result<Vec<Job>, Error> {
        let messages = match shape {
            Shape::Burst(messages) | Shape::At(messages) => messages,
            Shape::Sustained => self.sustained(mode, size),
        };
        let bus = |target: &Target| {
            let bus = Job::new(&target.url, Measured::Bus, Load::new(mode, messages, size))?;
            Ok(Job { name: target.name.clone(), ..bus })
        };
        let buses = self.targets.iter().map(bus).collect::<Result<_, Error>>()?;
        Ok(with_rivals(buses, |bus| self.rivals(&bus.backend, mode, shape)))
    }
}

/// The buses, and right after the first of each backend what it is compared with: two buses at one
/// backend have the same rivals.
pub(super) fn with_rivals(buses: Vec<Job>, rivals: impl Fn(&Job) -> Vec<Measured>) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut backends: Vec<String> = Vec::new();
    for bus in buses {
        jobs.push(bus.clone());
        if !backends.contains(&bus.backend) {
            let rivals = rivals(&bus).into_iter();
            jobs.extend(rivals.map(|measured| Job { measured, name: None, ..bus.clone() }));
            backends.push(bus.backend);
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let mut selection =
            Selection::full(vec![Target::new("memory://"), Target::new("memory://b").named("b")]);
        selection.clients = false;
        Plan::of(&selection, 2).unwrap()
    }

    #[test]
    fn the_matrix_is_whole() {
        let plan = plan();
        // Two modes with bursts and two without, three payloads.
        assert_eq!(plan.cells.len(), 2 * 3 * 5 + 2 * 3);
        assert_eq!(plan.len(), plan.steps().count());
        assert_eq!(plan.len(), 2 * 2 * plan.cells.len());
    }

    #[test]
    fn rounds_alternate() {
        let plan = plan();
        let of_cell = |round: usize| -> Vec<String> {
            let steps = plan.steps().filter(|step| step.0 == round && step.1.id == 3);
            steps.map(|(_, _, job)| job.url.clone()).collect()
        };
        assert_eq!(of_cell(0), ["memory://", "memory://b"]);
        assert_eq!(of_cell(1), ["memory://b", "memory://"]);
    }

    #[test]
    fn sustained_runs_have_a_size() {
        let selection = Selection::full(Vec::new());
        assert_eq!(selection.sustained(Mode::Async, 256), 200_000);
        assert_eq!(selection.sustained(Mode::Sync, 256), 5_000);
        assert_eq!(selection.sustained(Mode::Async, 16 * 1024), 3_125);
        assert_eq!(selection.sustained(Mode::Sync, 16 * 1024), 2_000);
    }
}
