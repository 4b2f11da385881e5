//! What a run came to, before it is a report.

use std::time::{Duration, Instant};

use crate::{
    Load, Report, Timeline,
    latency::Latencies,
    process::{Observed, Usage},
};

pub(crate) struct Figures {
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) elapsed: Duration,
    pub(crate) accept: Latencies,
    pub(crate) ack: Latencies,
    pub(crate) e2e: Latencies,
    pub(crate) started: Instant,
    pub(crate) idle: Usage,
    pub(crate) observed: Observed,
    /// Tasks that are not those of the bus.
    pub(crate) own_tasks: usize,
    pub(crate) missing: Option<u64>,
    pub(crate) order_violations: Option<u64>,
}

impl Figures {
    pub(crate) fn into_report(self, backend: &str, load: &Load, leaked_tasks: usize) -> Report {
        let elapsed_s = self.elapsed.as_secs_f64();
        // More digits would only look exact.
        let per_second = |amount: f64| (amount / elapsed_s.max(1e-9) * 10.0).round() / 10.0;
        let acked = self.acked as f64;
        Report {
            backend: backend.to_owned(),
            mode: load.mode,
            messages: load.messages,
            size: load.size,
            acked: self.acked,
            failed: self.failed,
            elapsed_s: (elapsed_s * 1e6).round() / 1e6,
            msgs_per_s: per_second(acked),
            mb_per_s: per_second(acked * load.size as f64 / 1e6),
            accept_us: self.accept.quantiles(),
            ack_us: self.ack.quantiles(),
            e2e_us: self.e2e.quantiles(),
            idle_tasks: self.idle.tasks,
            peak_tasks: self.peak_tasks(),
            leaked_tasks,
            idle_rss_bytes: self.idle.rss_bytes,
            peak_rss_bytes: self.observed.peak.rss_bytes,
            missing: self.missing,
            order_violations: self.order_violations,
            timeline: self.timeline(),
        }
    }

    /// A task that ended just before the load is still counted for a moment: idle has it, no sample does.
    fn peak_tasks(&self) -> usize {
        self.observed.peak.tasks.saturating_sub(self.own_tasks).max(self.idle.tasks)
    }

    fn timeline(&self) -> Timeline {
        let before = self.idle.rss_bytes.unwrap_or_default() as f64;
        let own = self.own_tasks as f64;
        Timeline {
            ack_us: self.ack.series().during(self.started, self.elapsed, |latency| latency),
            tasks: self
                .observed
                .tasks
                .during(self.started, self.elapsed, |tasks| (tasks - own).max(0.0)),
            memory_bytes: self
                .observed
                .rss_bytes
                .during(self.started, self.elapsed, |bytes| bytes - before),
        }
    }
}
