//! Latencies as histograms.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::timeline::Series;

/// Latencies, kept in nanoseconds with three significant digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    series: Series,
}

impl Latencies {
    const LONGEST: Duration = Duration::from_secs(3600);

    pub(crate) fn new() -> Self {
        let longest = Self::LONGEST.as_nanos() as u64;
        let histogram = Histogram::new_with_bounds(1, longest, 3);
        let histogram = histogram.expect("the bounds are constants that fit");
        Self { histogram, series: Series::new() }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.record_nanos(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos);
    }

    /// Records a latency that ends now, also for the plot over time.
    pub(crate) fn record_now(&mut self, latency: Duration) {
        self.record(latency);
        self.series.add(latency.as_secs_f64() * 1e6);
    }

    pub(crate) fn series(&self) -> &Series {
        &self.series
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Same bounds, so this cannot fail.
        let _ = self.histogram.add(&other.histogram);
        self.series.join(&other.series);
    }

    /// `None` when nothing was recorded.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        if self.histogram.is_empty() {
            return None;
        }
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        Some(Quantiles {
            p50: micros(self.histogram.value_at_quantile(0.5)),
            p99: micros(self.histogram.value_at_quantile(0.99)),
            p999: micros(self.histogram.value_at_quantile(0.999)),
            max: micros(self.histogram.max()),
        })
    }
}

/// The quantiles of a latency in microseconds, to a tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// One in a hundred took longer.
    pub p99: f64,
    /// One in a thousand took longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, p999, max } = self;
        write!(f, "p50 {p50:>9.1}   p99 {p99:>9.1}   p99.9 {p999:>9.1}   max {max:>9.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_microseconds() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantiles(), None);
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let quantiles = latencies.quantiles().unwrap();
        assert!((quantiles.p50 - 500.0).abs() < 1.0, "{quantiles:?}");
        assert!((quantiles.p99 - 990.0).abs() < 1.0, "{quantiles:?}");
        assert!((quantiles.max - 1000.0).abs() < 1.0, "{quantiles:?}");
    }

    #[test]
    fn what_is_longer_than_an_hour_counts_as_an_hour() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::MAX);
        assert!(latencies.quantiles().unwrap().max > 3.5e9);
    }
}
