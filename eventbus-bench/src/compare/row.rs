//! What one party did in one cell.

use serde::{Deserialize, Serialize};

use super::{Cell, Run, Shape, Spread};
use crate::{Job, Measured, Mode, Quantiles, Sample, Timeline};

/// All rounds of one party in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// The cell.
    pub cell: usize,
    /// Who.
    pub party: String,
    /// Whether it is this event bus.
    pub is_bus: bool,
    /// The backend.
    pub backend: String,
    /// What the load does.
    pub mode: Mode,
    /// The payload in bytes.
    pub size: usize,
    /// Burst or sustained, or where on the axis of an experiment.
    pub shape: Shape,
    /// How many messages a run has.
    pub messages: u64,
    /// The runs.
    pub runs: Vec<Run>,
}

impl Row {
    pub(super) fn new(cell: &Cell, job: &Job, run: Run) -> Self {
        Self {
            cell: cell.id,
            party: job.party(),
            is_bus: job.measured == Measured::Bus,
            backend: job.backend.clone(),
            mode: job.load.mode,
            size: job.load.size,
            shape: cell.shape,
            messages: job.load.messages,
            runs: vec![run],
        }
    }

    /// The samples of the rounds that gave one.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.runs.iter().filter_map(|run| run.outcome.as_ref().ok())
    }

    /// Why a round gave no sample: the first such reason.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.runs.iter().find_map(|run| run.outcome.as_ref().err()).map(String::as_str)
    }

    /// How many rounds gave no sample, and why the first of them did not.
    #[must_use]
    pub fn failed_rounds(&self) -> Option<String> {
        let (first, all) = (self.failure()?, self.runs.len());
        let failed = all - self.samples().count();
        Some(format!("{failed} of {all} rounds failed, the first: {first}"))
    }

    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> Option<Spread> {
        Spread::of(self.samples().map(|sample| sample.msgs_per_s))
    }

    /// Seconds until everything was acknowledged.
    #[must_use]
    pub fn seconds(&self) -> Option<Spread> {
        Spread::of(self.samples().map(|sample| sample.elapsed_s))
    }

    /// The medians of the quantiles of the latency.
    #[must_use]
    pub fn ack_us(&self) -> Option<Quantiles> {
        let median = |of: fn(&Quantiles) -> f64| {
            Spread::of(self.samples().filter_map(|sample| sample.ack_us.as_ref()).map(of))
                .map(|spread| spread.median)
        };
        Some(Quantiles {
            p50: median(|quantiles| quantiles.p50)?,
            p99: median(|quantiles| quantiles.p99)?,
            p999: median(|quantiles| quantiles.p999)?,
            max: median(|quantiles| quantiles.max)?,
        })
    }

    /// The part of all messages that was acknowledged.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        let (acked, all) = self.samples().fold((0, 0), |(acked, all), sample| {
            (acked + sample.acked, all + sample.acked + sample.failed)
        });
        (all > 0).then(|| acked as f64 / all as f64)
    }

    /// The most tasks in any round.
    #[must_use]
    pub fn peak_tasks(&self) -> Option<usize> {
        self.samples().filter_map(|sample| sample.peak_tasks).max()
    }

    /// The most tasks that were left after any round.
    #[must_use]
    pub fn leaked_tasks(&self) -> Option<usize> {
        self.samples().filter_map(|sample| sample.leaked_tasks).max()
    }

    /// How much the memory grew.
    #[must_use]
    pub fn memory_growth(&self) -> Option<Spread> {
        let grown = self.samples().filter_map(|sample| sample.memory_growth_bytes);
        Spread::of(grown.map(|bytes| bytes as f64))
    }

    /// The violations of the order in all rounds.
    #[must_use]
    pub fn order_violations(&self) -> Option<u64> {
        self.samples().map(|sample| sample.order_violations).sum()
    }

    /// The sample whose rate is the median, for plots over time.
    #[must_use]
    pub fn typical(&self) -> Option<&Sample> {
        let median = self.rate()?.median;
        let distance = |sample: &Sample| (sample.msgs_per_s - median).abs();
        self.samples().min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }

    pub(super) fn forget_timelines(&mut self) {
        let kept = self.typical().map(|sample| sample.timeline.clone());
        for run in &mut self.runs {
            if let Ok(sample) = &mut run.outcome
                && kept.as_ref() != Some(&sample.timeline)
            {
                sample.timeline = Timeline::default();
            }
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        let clean = |sample: &Sample| {
            sample.failed == 0
                && sample.leaked_tasks.unwrap_or(0) == 0
                && sample.order_violations.unwrap_or(0) == 0
                // In memory the retention is a part of what is measured.
                && (self.backend == "memory" || sample.missing.unwrap_or(0) == 0)
        };
        self.failure().is_none() && self.samples().all(clean)
    }
}

/// How one row compares with another, round by round, so that noise hits both alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ratio {
    /// Of the rates: more is faster.
    pub rate: Spread,
    /// Of the median latencies: less is faster.
    pub p50: Option<Spread>,
}

impl Ratio {
    pub(super) fn of(row: &Row, other: &Row) -> Option<Self> {
        let pairs = || {
            row.runs.iter().filter_map(|run| {
                let rival = other.runs.iter().find(|rival| rival.round == run.round)?;
                Some((run.outcome.as_ref().ok()?, rival.outcome.as_ref().ok()?))
            })
        };
        let p50 = |sample: &Sample| sample.ack_us.map(|quantiles| quantiles.p50);
        Some(Self {
            rate: Spread::of(pairs().map(|(own, rival)| own.msgs_per_s / rival.msgs_per_s))?,
            p50: Spread::of(pairs().filter_map(|(own, rival)| Some(p50(own)? / p50(rival)?))),
        })
    }
}
