//! What happened when, for plots.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A series keeps between half of this and this many points.
const KEPT: usize = 4096;
/// As many points as a plot can show.
const SHOWN: usize = 120;

/// A moment in milliseconds since the start of the load, and a value.
pub type Point = (f64, f64);

/// How a run went over time. Each series has at most 120 points, the highest value of a
/// slice of time each; one that was not measured is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timeline {
    /// From publish to acknowledgement in microseconds, at the time of the acknowledgement.
    pub ack_us: Vec<Point>,
    /// Tasks of the bus.
    pub tasks: Vec<Point>,
    /// Resident memory in bytes, above what it was before the load.
    pub memory_bytes: Vec<Point>,
}

/// Values over time, which thins itself out evenly when it becomes long.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    points: Vec<(Instant, f64)>,
    stride: u64,
    seen: u64,
}

impl Series {
    pub(crate) fn new() -> Self {
        Self { points: Vec::new(), stride: 1, seen: 0 }
    }

    /// Adds a value that is of now.
    pub(crate) fn add(&mut self, value: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.points.len() == KEPT {
                let mut odd = false;
                self.points.retain(|_| {
                    odd = !odd;
                    odd
                });
                self.stride *= 2;
            }
            self.points.push((Instant::now(), value));
        }
        self.seen += 1;
    }

    pub(crate) fn join(&mut self, other: &Self) {
        self.points.extend_from_slice(&other.points);
    }

    /// The points from `start` for as long as `elapsed`, each the highest of a slice of time.
    pub(crate) fn during(
        &self,
        start: Instant,
        elapsed: Duration,
        shown: impl Fn(f64) -> f64,
    ) -> Vec<Point> {
        let after = |at: Instant| at.saturating_duration_since(start).as_secs_f64() * 1e3;
        let end = elapsed.as_secs_f64() * 1e3;
        let slice = (end / SHOWN as f64).max(f64::MIN_POSITIVE);
        let mut highest: Vec<Option<f64>> = vec![None; SHOWN + 1];
        for (at, value) in self.points.iter().filter(|(at, _)| after(*at) <= end) {
            let place = &mut highest[((after(*at) / slice) as usize).min(SHOWN)];
            *place = Some(place.map_or(*value, |highest| highest.max(*value)));
        }
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let places = highest.into_iter().enumerate();
        places
            .filter_map(|(n, value)| Some((tenth(n as f64 * slice), tenth(shown(value?)))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_stays_short_and_keeps_its_peaks() {
        let start = Instant::now();
        let mut series = Series::new();
        for n in 0..100_000 {
            series.add(f64::from(n));
        }
        assert!(series.points.len() <= KEPT && series.points.len() >= KEPT / 2);
        let points = series.during(start, start.elapsed(), |value| value);
        assert!(points.len() <= SHOWN + 1 && points.len() > SHOWN / 2, "{}", points.len());
        assert!(points.last().unwrap().1 > 99_900.0, "{points:?}");
        assert!(points.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn a_series_of_one_moment_has_one_point() {
        let mut series = Series::new();
        series.add(7.0);
        assert_eq!(
            series.during(Instant::now(), Duration::ZERO, |value| value * 2.0),
            [(0.0, 14.0)]
        );
        assert!(Series::new().during(Instant::now(), Duration::ZERO, |value| value).is_empty());
    }
}
