//! What the process uses, over time.

use std::{fmt, fs, time::Duration};

/// One look at the process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) operations: u64,
    pub(super) tasks: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
    pub(super) rss_kibibytes: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5} s: {} operations, {} tasks, {} threads, {} descriptors, {:.1} MiB",
            self.at.as_secs(),
            self.operations,
            self.tasks,
            self.threads,
            self.descriptors,
            self.rss_kibibytes as f64 / 1024.0
        )
    }
}

/// What is watched: its name, and where it is in a sample.
pub(super) type Series = (&'static str, fn(&Sample) -> u64);

pub(super) const SERIES: [Series; 4] = [
    ("tasks", |sample| sample.tasks),
    ("threads", |sample| sample.threads),
    ("descriptors", |sample| sample.descriptors),
    ("resident KiB", |sample| sample.rss_kibibytes),
];

/// How much more the median of the last quarter may be than that of the second: the first
/// quarter is for warming up. Tasks and descriptors of connections that are just being closed
/// come and go; an allocator keeps some of what it once had.
const SLACK: [u64; 4] = [4, 4, 4, 16 << 10];

#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn all(&self) -> &[Sample] {
        &self.0
    }

    pub(super) fn last(&self) -> Sample {
        self.0.last().copied().unwrap_or_default()
    }

    pub(super) fn take(&mut self, at: Duration, operations: u64) {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        self.0.push(Sample {
            at,
            operations,
            tasks: tasks as u64,
            threads: entries("/proc/self/task"),
            descriptors: entries("/proc/self/fd"),
            rss_kibibytes: rss(),
        });
    }

    /// What is more than it was, in words.
    pub(super) fn grown(&self) -> Vec<String> {
        let mut grown = Vec::new();
        for ((name, value), slack) in SERIES.into_iter().zip(SLACK) {
            let (before, after) = (self.median(1, value), self.median(3, value));
            if after > before + slack {
                grown.push(format!("{name}, from {before} to {after}"));
            }
        }
        grown
    }

    fn median(&self, quarter: usize, value: fn(&Sample) -> u64) -> u64 {
        let length = self.0.len() / 4;
        let quarter = self.0.iter().skip(quarter * length).take(length);
        let mut values: Vec<u64> = quarter.map(value).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The medians of the second and of the last quarter.
    pub(super) fn summary(&self) -> String {
        let mut summary = self.last().to_string();
        for (name, value) in SERIES {
            let (before, after) = (self.median(1, value), self.median(3, value));
            summary.push_str(&format!(
                "\n{name}: {before} in the second quarter, {after} in the last"
            ));
        }
        summary
    }
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

fn rss() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(tasks: impl Fn(u64) -> u64) -> Samples {
        let sample = |at| Sample { tasks: tasks(at), ..Sample::default() };
        Samples((0..400).map(sample).collect())
    }

    #[test]
    fn what_grows_is_seen_and_what_warms_up_or_wavers_is_not() {
        assert_eq!(samples(|at| 20 + at % 3).grown(), [""; 0]);
        assert_eq!(samples(|at| at.min(90)).grown(), [""; 0]);
        assert_eq!(samples(|at| at / 10).grown(), ["tasks, from 15 to 35"]);
    }

    #[test]
    fn this_process_uses_something() {
        assert!(entries("/proc/self/task") > 0);
        assert!(entries("/proc/self/fd") > 0);
        assert!(rss() > 0);
    }
}
