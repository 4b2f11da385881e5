//! Carrying out a plan.

use std::{
    collections::HashMap,
    fmt::Display,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{Cell, Comparison, Plan, Run, Spread};
use crate::{Job, Measured, Mode, Sample, Tool};

/// A party that fails so often in a row is left out for the rest.
const PATIENCE: u32 = 3;

/// What is about to be measured.
#[derive(Debug)]
#[non_exhaustive]
pub struct Step<'a> {
    /// How many measurements were made.
    pub done: usize,
    /// How many there are.
    pub total: usize,
    /// Which round, from 0.
    pub round: usize,
    /// The cell.
    pub cell: &'a Cell,
    /// Who.
    pub job: &'a Job,
    /// How long it will take, as far as that can be told.
    pub expected: Duration,
    /// How long the rest will take; `None` while nobody knows.
    pub left: Option<Duration>,
    /// What was measured until now.
    pub so_far: &'a Comparison,
}

/// Carries out `plan` and puts what it gives in `comparison`. `measure` measures one job:
/// [`measure`](crate::measure()) in a process of its own, ideally; with `None`, which says that it
/// was interrupted, it ends. `watch` is called before each, and can end it, too.
///
/// A measurement that fails is part of the result. Cancelled, `comparison` has what was
/// measured until then.
pub async fn carry_out<E: Display>(
    plan: &Plan,
    comparison: &mut Comparison,
    mut measure: impl AsyncFnMut(&Job) -> Option<Result<Sample, E>>,
    mut watch: impl FnMut(&Step<'_>) -> ControlFlow<()>,
) {
    let mut pace = Pace::default();
    let mut failing: HashMap<String, u32> = HashMap::new();
    for (done, (round, cell, job)) in plan.steps().enumerate() {
        if failing.get(&job.party()).is_some_and(|times| *times >= PATIENCE) {
            continue;
        }
        let (expected, left) = (pace.expected(cell, job), pace.left(plan, done));
        let (total, so_far) = (plan.len(), &*comparison);
        let step = Step { done, total, round, cell, job, expected, left, so_far };
        let stopped = watch(&step).is_break();
        let started = Instant::now();
        let outcome = if stopped { None } else { measure(job).await };
        let Some(outcome) = outcome else {
            comparison.stopped_after = Some(done);
            return;
        };
        pace.note(cell, job, started.elapsed());
        let failed = failing.entry(job.party()).or_default();
        *failed = if outcome.is_err() { *failed + 1 } else { 0 };
        if *failed == PATIENCE {
            comparison.warnings.push(format!(
                "{} failed {PATIENCE} times in a row and was left out from then on",
                job.party()
            ));
        }
        let outcome = outcome.map_err(|error| error.to_string());
        comparison.add(cell, job, Run { round, outcome });
    }
}

/// How long measurements take.
#[derive(Default)]
struct Pace {
    known: HashMap<(usize, String), Duration>,
    all: Duration,
    count: u32,
}

impl Pace {
    fn note(&mut self, cell: &Cell, job: &Job, took: Duration) {
        self.known.insert((cell.id, job.party()), took);
        self.all += took;
        self.count += 1;
    }

    /// What it took the last time, or what others took.
    fn expected(&self, cell: &Cell, job: &Job) -> Duration {
        let known = self.known.get(&(cell.id, job.party())).copied();
        known.unwrap_or_else(|| self.all.checked_div(self.count).unwrap_or_default())
    }

    fn left(&self, plan: &Plan, done: usize) -> Option<Duration> {
        (self.count > 0)
            .then(|| plan.steps().skip(done).map(|(_, cell, job)| self.expected(cell, job)).sum())
    }
}

/// The batch with which a tool does best what `job` says, of those given: for comparing with
/// it at its best. Each is measured `rounds` times, interleaved. When `measure` gives `None` it
/// ends, with `None`.
///
/// # Errors
/// That of the last measurement, when none succeeds.
pub async fn best_batch<E>(
    job: &Job,
    batches: &[usize],
    rounds: usize,
    mut measure: impl AsyncFnMut(&Job) -> Option<Result<Sample, E>>,
) -> Option<Result<usize, E>> {
    let mut rates = vec![Vec::new(); batches.len()];
    let mut last = None;
    for _ in 0..rounds {
        for (&batch, rates) in batches.iter().zip(&mut rates) {
            match measure(&Job { tool_batch: batch, ..job.clone() }).await? {
                Ok(sample) => rates.push(sample.msgs_per_s),
                Err(error) => last = Some(error),
            }
        }
    }
    let medians = batches
        .iter()
        .zip(rates)
        .filter_map(|(batch, rates)| Some((*batch, Spread::of(rates)?.median)));
    Some(match (medians.max_by(|a, b| a.1.total_cmp(&b.1)), last) {
        (Some((batch, _)), _) => Ok(batch),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(job.tool_batch),
    })
}

/// What a tool is to be tuned for before `plan` is carried out: a job per tool and mode that
/// has a batch, and the batches worth trying.
#[must_use]
pub fn to_tune(plan: &Plan) -> Vec<(Tool, Mode, Job)> {
    let mut found: Vec<(Tool, Mode, Job)> = Vec::new();
    for job in plan.cells.iter().flat_map(|cell| &cell.jobs) {
        let Measured::Tool(tool) = job.measured else { continue };
        let mode = job.load.mode;
        let has_batch = matches!(mode, Mode::Async | Mode::Consume);
        match found.iter_mut().find(|known| known.0 == tool && known.1 == mode) {
            // The longest run tells most, at the smallest payload.
            Some(known) => {
                let (old, new) = (&known.2.load, &job.load);
                if new.size == old.size && new.messages > old.messages {
                    known.2 = job.clone();
                }
            }
            None if has_batch => found.push((tool, mode, job.clone())),
            None => {}
        }
    }
    found
}
