//! What one measurement gave.

use serde::{Deserialize, Serialize};

use crate::{Quantiles, Report, Timeline};

/// The figures of one measurement. What could not be measured, such as the tasks of a tool in
/// another language, is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sample {
    /// Messages acknowledged, or settled.
    pub acked: u64,
    /// Messages that were not.
    pub failed: u64,
    /// From the first publish until the last acknowledgement, or as [`Report::elapsed_s`] says.
    pub elapsed_s: f64,
    /// `acked` per second.
    pub msgs_per_s: f64,
    /// From publish to acknowledgement; of a batch as a whole; of settling.
    pub ack_us: Option<Quantiles>,
    /// Tasks before the load.
    pub idle_tasks: Option<usize>,
    /// The most tasks under load.
    pub peak_tasks: Option<usize>,
    /// Tasks left after closing.
    pub leaked_tasks: Option<usize>,
    /// How much the resident memory grew above what it was before the load.
    pub memory_growth_bytes: Option<u64>,
    /// As [`Report::missing`] says.
    #[serde(default)]
    pub missing: Option<u64>,
    /// As [`Report::order_violations`] says.
    pub order_violations: Option<u64>,
    /// How it went over time.
    #[serde(default)]
    pub timeline: Timeline,
}

impl From<Report> for Sample {
    fn from(report: Report) -> Self {
        let grown = |idle: u64| Some(report.peak_rss_bytes?.saturating_sub(idle));
        Self {
            acked: report.acked,
            failed: report.failed,
            elapsed_s: report.elapsed_s,
            msgs_per_s: report.msgs_per_s,
            ack_us: report.ack_us,
            idle_tasks: Some(report.idle_tasks),
            peak_tasks: Some(report.peak_tasks),
            leaked_tasks: Some(report.leaked_tasks),
            memory_growth_bytes: report.idle_rss_bytes.and_then(grown),
            missing: report.missing,
            order_violations: report.order_violations,
            timeline: report.timeline,
        }
    }
}

impl Sample {
    /// A sample of which only the rate is known.
    pub(crate) fn of_rate(acked: u64, failed: u64, elapsed_s: f64) -> Self {
        let msgs_per_s = (acked as f64 / elapsed_s.max(1e-9) * 10.0).round() / 10.0;
        Self { acked, failed, elapsed_s, msgs_per_s, ..Self::default() }
    }

    /// The part of the messages that was acknowledged.
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        self.acked as f64 / (self.acked + self.failed).max(1) as f64
    }
}
