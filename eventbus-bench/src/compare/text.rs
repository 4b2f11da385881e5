//! A comparison as a table for a terminal.

use std::fmt;

use super::{Comparison, Row, Spread};

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "{}", self.title)?;
        writeln!(f, "{}, {} cores, {}", machine.processor, machine.cores, machine.system)?;
        for party in &self.parties {
            writeln!(f, "  {}: {}; {}", party.name, party.version, party.durability)?;
        }
        for warning in &self.warnings {
            writeln!(f, "note: {warning}")?;
        }
        if let Some(done) = self.stopped_after {
            writeln!(f, "note: stopped after {done} measurements; the last rounds are missing")?;
        }
        let mut cell = None;
        for row in &self.rows {
            if cell.replace(row.cell) != Some(row.cell) {
                head(f, row)?;
            }
            line(f, self, row)?;
        }
        Ok(())
    }
}

fn head(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    writeln!(f, "\n{} · {} bytes · {}", row.mode, row.size, row.shape)?;
    writeln!(
        f,
        "  {:<22} {:>9} {:>17}  {:>8} {:>8} {:>8}  {:>6} {:>6} {:>9} {:>6}  ok",
        "", "msg/s", "min–max", "p50", "p99", "p99.9", "tasks", "left", "memory", "order"
    )
}

fn line(f: &mut fmt::Formatter<'_>, comparison: &Comparison, row: &Row) -> fmt::Result {
    let Some(rate) = row.rate() else {
        return writeln!(f, "  {:<22} {}", row.party, row.failure().unwrap_or("not measured"));
    };
    let latency = row.ack_us();
    let quantile = |of: fn(&crate::Quantiles) -> f64| shown(latency.as_ref().map(of), micros);
    write!(
        f,
        "  {:<22} {:>9} {:>17}  {:>8} {:>8} {:>8}  {:>6} {:>6} {:>9} {:>6}  {}",
        row.party,
        count(rate.median),
        format!("{}–{}", count(rate.min), count(rate.max)),
        quantile(|quantiles| quantiles.p50),
        quantile(|quantiles| quantiles.p99),
        quantile(|quantiles| quantiles.p999),
        shown(row.peak_tasks(), |tasks| tasks.to_string()),
        shown(row.leaked_tasks(), |tasks| tasks.to_string()),
        shown(row.memory_growth(), |grown| bytes(grown.median)),
        shown(row.order_violations(), |violations| violations.to_string()),
        shown(row.success_rate(), percent),
    )?;
    for rival in comparison.rivals(row) {
        if let Some(ratio) = comparison.ratio(row, &rival.party) {
            write!(f, "  {} of {}", times(ratio.rate), rival.party)?;
            if let Some(p50) = ratio.p50.filter(|_| row.mode == crate::Mode::Sync) {
                write!(f, ", p50 {}", times(p50))?;
            }
        }
    }
    writeln!(f)?;
    match row.failed_rounds() {
        Some(failed) => writeln!(f, "  {:<22} {failed}", ""),
        None => Ok(()),
    }
}

/// What there is, or a dash.
pub(super) fn shown<T>(value: Option<T>, as_text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), as_text)
}

/// A ratio with its ends.
pub(super) fn times(ratio: Spread) -> String {
    format!("{:.2}× ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
}

/// A part of a whole.
pub(super) fn percent(part: f64) -> String {
    if part >= 1.0 { "100 %".to_owned() } else { format!("{:.2} %", part * 100.0) }
}

/// A count, rounded to three digits, with a unit where it is large.
pub(super) fn count(value: f64) -> String {
    match value {
        value if value >= 999_500.0 => format!("{:.2} M", value / 1e6),
        value if value >= 9_995.0 => format!("{:.0} k", value / 1e3),
        value if value >= 999.5 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

/// A count with its zeros, or thousands of it.
pub(super) fn exact(value: f64) -> String {
    match value {
        value if value >= 10_000.0 && value % 1024.0 == 0.0 => format!("{}Ki", value / 1024.0),
        value if value >= 10_000.0 => format!("{}k", (value / 1e3).round()),
        value => format!("{value}"),
    }
}

/// A time that is given in microseconds.
pub(super) fn micros(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.1} µs"),
        value if value < 1e3 => format!("{value:.0} µs"),
        value if value < 1e4 => format!("{:.1} ms", value / 1e3),
        value if value < 1e6 => format!("{:.0} ms", value / 1e3),
        value => format!("{:.1} s", value / 1e6),
    }
}

/// Mebibytes, as they stand on an axis.
pub(super) fn mebibytes(value: f64) -> String {
    // Steps of a tenth are not exact in binary.
    format!("{} MiB", (value * 1e3).round() / 1e3)
}

/// An amount of memory.
pub(super) fn bytes(value: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    match value {
        value if value < 1024.0 * 10.0 => format!("{value:.0} B"),
        value if value < MIB => format!("{:.0} KiB", value / 1024.0),
        value if value < MIB * 10.0 => format!("{:.1} MiB", value / MIB),
        value => format!("{:.0} MiB", value / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [7.0, 1_234.0, 56_789.0, 1_234_567.0].map(count),
            ["7", "1.2 k", "57 k", "1.23 M"]
        );
        assert_eq!(
            [3.25, 250.0, 2_500.0, 2e6].map(micros),
            ["3.2 µs", "250 µs", "2.5 ms", "2.0 s"]
        );
        assert_eq!([0.0, 3.0 * 0.1, 20.0].map(mebibytes), ["0 MiB", "0.3 MiB", "20 MiB"]);
        assert_eq!([100.0, 65_536.0, 5e7].map(bytes), ["100 B", "64 KiB", "48 MiB"]);
        assert_eq!([16.0, 10_000.0, 65_536.0].map(exact), ["16", "10k", "64Ki"]);
        assert_eq!([1.0, 0.9999].map(percent), ["100 %", "99.99 %"]);
    }
}
