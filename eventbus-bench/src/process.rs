//! What the process uses: tasks and memory, sampled while the load runs.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::timeline::Series;

const INTERVAL: Duration = Duration::from_millis(5);

/// Tasks and memory at one moment, or at their highest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) tasks: usize,
    /// `None` where the system does not tell.
    pub(crate) rss_bytes: Option<u64>,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self::of(&Handle::current().metrics())
    }

    fn of(runtime: &RuntimeMetrics) -> Self {
        Self { tasks: runtime.num_alive_tasks(), rss_bytes: rss_bytes() }
    }

    fn highest(self, other: Self) -> Self {
        Self { tasks: self.tasks.max(other.tasks), rss_bytes: self.rss_bytes.max(other.rss_bytes) }
    }
}

/// What the monitor saw.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) peak: Usage,
    pub(crate) tasks: Series,
    pub(crate) rss_bytes: Series,
}

impl Observed {
    fn new() -> Self {
        Self { peak: Usage::default(), tasks: Series::new(), rss_bytes: Series::new() }
    }

    fn note(&mut self, usage: Usage) {
        self.peak = self.peak.highest(usage);
        self.tasks.add(usage.tasks as f64);
        if let Some(bytes) = usage.rss_bytes {
            self.rss_bytes.add(bytes as f64);
        }
    }
}

/// A thread that samples the usage until it is asked for the highest.
#[derive(Debug)]
pub(crate) struct Monitor {
    stop: Sender<()>,
    thread: JoinHandle<Observed>,
}

impl Monitor {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Handle::current().metrics();
        let (stop, stopped) = channel();
        let thread =
            std::thread::Builder::new().name("bench-monitor".to_owned()).spawn(move || {
                let mut observed = Observed::new();
                observed.note(Usage::of(&runtime));
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    observed.note(Usage::of(&runtime));
                }
                observed.note(Usage::of(&runtime));
                observed
            })?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn finish(self) -> Observed {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|_| Observed::new())
    }
}

/// The resident memory of this process.
#[cfg(target_os = "linux")]
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The resident memory of this process.
#[cfg(not(target_os = "linux"))]
fn rss_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_monitor_sees_a_peak() {
        let before = Usage::now().tasks;
        let monitor = Monitor::start().unwrap();
        let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(std::future::pending::<()>())).collect();
        assert!(monitor.finish().peak.tasks >= before + 50);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_told() {
        assert!(rss_bytes().unwrap() > 100_000);
    }
}
