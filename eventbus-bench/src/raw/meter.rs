//! The clock, the tasks and the memory of a measurement that does not go through the bus.

use std::time::{Duration, Instant};

use eventbus_core::{Error, ErrorKind};

use crate::{
    Timeline,
    latency::Latencies,
    measure::Sample,
    process::{Monitor, Usage},
};

/// Runs from the first message to the last acknowledgement.
pub(crate) struct Meter {
    idle: Usage,
    /// Tasks that were there before the client.
    before: usize,
    monitor: Monitor,
    started: Instant,
}

impl Meter {
    /// Starts. `before` is how many tasks there were before the client connected.
    pub(crate) fn start(before: usize) -> Result<Self, Error> {
        let monitor = Monitor::start().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no thread could be started").with_source(error)
        })?;
        Ok(Self { idle: Usage::now(), before, monitor, started: Instant::now() })
    }

    /// Stops. What tasks are left is for the caller to fill in, after the client has gone.
    pub(crate) fn stop(self, acked: u64, failed: u64, ack: &Latencies) -> Sample {
        let elapsed = self.started.elapsed();
        let observed = self.monitor.finish();
        let Self { idle, before, started, .. } = self;
        let shown = |tasks: f64| (tasks - before as f64).max(0.0);
        let grown = |peak: u64| Some(peak.saturating_sub(idle.rss_bytes?));
        let idle_bytes = idle.rss_bytes.unwrap_or_default() as f64;
        Sample {
            ack_us: ack.quantiles(),
            idle_tasks: Some(idle.tasks.saturating_sub(before)),
            peak_tasks: Some(observed.peak.tasks.saturating_sub(before)),
            memory_growth_bytes: observed.peak.rss_bytes.and_then(grown),
            timeline: Timeline {
                ack_us: ack.series().during(started, elapsed, |latency| latency),
                tasks: observed.tasks.during(started, elapsed, shown),
                memory_bytes: observed
                    .rss_bytes
                    .during(started, elapsed, |bytes| bytes - idle_bytes),
            },
            ..Sample::of_rate(acked, failed, elapsed.as_secs_f64())
        }
    }
}

/// How many tasks there are beyond `before`, once those that are ending have ended.
pub(crate) async fn left_over(before: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = Usage::now().tasks.saturating_sub(before);
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
