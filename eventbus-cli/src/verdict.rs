//! Promises that were checked.

use std::io::{self, Write};

use serde::Serialize;

use crate::output::{BAD, GOOD};

/// A promise, whether it was kept, and what was seen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) ok: bool,
    pub(crate) promise: &'static str,
    pub(crate) seen: String,
}

impl Verdict {
    pub(crate) fn new(promise: &'static str, ok: bool, seen: String) -> Self {
        Self { ok, promise, seen }
    }
}

/// Prints verdicts, one a line, after `heading` in a column of its own.
pub(crate) fn print(out: &mut impl Write, heading: &str, verdicts: &[Verdict]) -> io::Result<()> {
    let width = verdicts.iter().map(|verdict| verdict.promise.len()).max();
    let width = width.unwrap_or_default();
    for (at, verdict) in verdicts.iter().enumerate() {
        let heading = if at == 0 { heading } else { "" };
        let (colour, mark) = if verdict.ok { (GOOD, "ok    ") } else { (BAD, "BROKEN") };
        let Verdict { promise, seen, .. } = verdict;
        writeln!(out, "{heading:10}{colour}{mark}{colour:#}  {promise:width$}  {seen}")?;
    }
    Ok(())
}

/// Whether all promises were kept.
pub(crate) fn all_ok(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(|verdict| verdict.ok)
}
