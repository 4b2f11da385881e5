//! The row of figures.

use std::fmt;

use serde::Serialize;

use crate::{Mode, Quantiles, Timeline};

/// One row of figures. As JSON the names are those of the fields; figures that a run does
/// not have are `null`. `Display` shows the same for reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The backend, by its URL scheme.
    pub backend: String,
    /// What the load did.
    pub mode: Mode,
    /// How many messages it was asked for.
    pub messages: u64,
    /// The payload of each in bytes.
    pub size: usize,
    /// Publishing: envelopes that the broker acknowledged. Consuming: deliveries settled.
    pub acked: u64,
    /// Publishing: envelopes refused or not acknowledged. Consuming: messages that were
    /// published before and did not come, or could not be settled.
    pub failed: u64,
    /// From the first publish until all had their verdict, or from the first poll until the
    /// last delivery was settled.
    pub elapsed_s: f64,
    /// `acked` per second.
    pub msgs_per_s: f64,
    /// Their payloads in megabytes (10⁶ bytes) per second.
    pub mb_per_s: f64,
    /// How long `publish` took to accept.
    pub accept_us: Option<Quantiles>,
    /// From publish to acknowledgement (of a batch as a whole), or how long settling took.
    pub ack_us: Option<Quantiles>,
    /// From publish to delivery.
    pub e2e_us: Option<Quantiles>,
    /// Tasks of the bus before the load.
    pub idle_tasks: usize,
    /// The most tasks of the bus under load.
    pub peak_tasks: usize,
    /// Tasks that were left after closing.
    pub leaked_tasks: usize,
    /// Resident memory of the process before the load.
    pub idle_rss_bytes: Option<u64>,
    /// The most resident memory of the process under load.
    pub peak_rss_bytes: Option<u64>,
    /// Publishing: envelopes that were acknowledged and did not come when the topic was read, since
    /// its retention has removed them, or lost.
    pub missing: Option<u64>,
    /// First deliveries that came after a later message of the same key and publisher; none while
    /// some are missing and the others kept their order.
    pub order_violations: Option<u64>,
    /// How the run went over time; not part of the row in JSON.
    #[serde(skip)]
    pub timeline: Timeline,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = |quantiles: Option<Quantiles>| match quantiles {
            Some(quantiles) => quantiles.to_string(),
            None => "-".to_owned(),
        };
        let mib = |bytes: Option<u64>| match bytes {
            Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
            None => "-".to_owned(),
        };
        writeln!(f, "backend     {}", self.backend)?;
        writeln!(
            f,
            "load        {}, {} messages of {} bytes",
            self.mode,
            thousands(self.messages),
            thousands(self.size as u64),
        )?;
        writeln!(
            f,
            "rate        {} msg/s   {:.1} MB/s   {:.3} s",
            thousands(self.msgs_per_s.round() as u64),
            self.mb_per_s,
            self.elapsed_s,
        )?;
        writeln!(
            f,
            "verdicts    {} acked   {} failed",
            thousands(self.acked),
            thousands(self.failed),
        )?;
        writeln!(f, "accept µs   {}", latency(self.accept_us))?;
        writeln!(f, "ack µs      {}", latency(self.ack_us))?;
        writeln!(f, "e2e µs      {}", latency(self.e2e_us))?;
        writeln!(
            f,
            "tasks       {} idle   {} peak   {} left after close",
            self.idle_tasks, self.peak_tasks, self.leaked_tasks,
        )?;
        writeln!(
            f,
            "memory      {} idle   {} peak",
            mib(self.idle_rss_bytes),
            mib(self.peak_rss_bytes),
        )?;
        if let Some(missing) = self.missing.filter(|missing| *missing > 0) {
            let missing = thousands(missing);
            writeln!(f, "missing     {missing} were acknowledged and did not come")?;
        }
        match self.order_violations {
            Some(violations) => write!(f, "order       {} violations", thousands(violations)),
            None => write!(f, "order       not checked"),
        }
    }
}

/// A number with a comma after every three digits.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let shown = [0, 7, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(shown, ["0", "7", "999", "1,000", "1,234,567"]);
    }
}
