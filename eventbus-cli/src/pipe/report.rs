//! What a pipe has done so far, and how it tells.

use std::{
    cell::Cell,
    convert::Infallible,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use crate::{
    exit::complain,
    output::{count, rate, short},
};

/// What was done so far. All of it happens in one task.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    /// Stored at the destination.
    pub(super) copied: Cell<u64>,
    /// Of these, what the destination had before and kept only once.
    pub(super) already_there: Cell<u64>,
    /// Tries that failed and were repeated.
    pub(super) retried: Cell<u64>,
    /// Handed back to the source without a copy.
    pub(super) given_back: Cell<u64>,
    /// Copied, with an acknowledgement that the source did not take.
    pub(super) unacknowledged: Cell<u64>,
    /// Messages that are no envelopes and were left out.
    pub(super) skipped: Cell<u64>,
    /// Times that the source had dropped messages before they were read.
    pub(super) gaps: Cell<u64>,
    pub(super) in_flight: Cell<usize>,
    /// How long before its copy the latest event was published at the source.
    pub(super) lag: Cell<Option<Duration>>,
    /// Whether the destination is being waited for.
    pub(super) waiting: Cell<bool>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            copied: Cell::default(),
            already_there: Cell::default(),
            retried: Cell::default(),
            given_back: Cell::default(),
            unacknowledged: Cell::default(),
            skipped: Cell::default(),
            gaps: Cell::default(),
            in_flight: Cell::default(),
            lag: Cell::default(),
            waiting: Cell::default(),
        }
    }
}

/// Adds one.
pub(super) fn increment(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl Tally {
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Tells on standard error how it goes: on a terminal all the time, elsewhere a line now and then.
pub(super) struct Progress<'a> {
    tally: &'a Tally,
    /// `None` for programs, which read the summary.
    line: Option<ProgressBar>,
}

/// How often a log gets a line, if there is something new.
const LOGGED_EVERY: Duration = Duration::from_secs(10);
const SHOWN_EVERY: Duration = Duration::from_millis(250);

impl<'a> Progress<'a> {
    pub(super) fn new(tally: &'a Tally, json: bool) -> Self {
        let line = match (json, std::io::stderr().is_terminal()) {
            (true, _) => None,
            (false, true) => Some(ProgressBar::new_spinner()),
            (false, false) => Some(ProgressBar::hidden()),
        };
        Self { tally, line }
    }

    pub(super) async fn show(&self) -> Infallible {
        let Some(line) = &self.line else {
            return std::future::pending().await;
        };
        let period = if line.is_hidden() { LOGGED_EVERY } else { SHOWN_EVERY };
        let (mut before, mut at) = (0, Instant::now());
        loop {
            tokio::time::sleep(period).await;
            let copied = self.tally.copied.get();
            let text = self.text(copied - before, at.elapsed());
            if !line.is_hidden() {
                line.set_message(text);
                line.tick();
            } else if copied > before || self.tally.in_flight.get() > 0 {
                complain(&text);
            }
            (before, at) = (copied, Instant::now());
        }
    }

    fn text(&self, news: u64, within: Duration) -> String {
        let tally = self.tally;
        let mut text = format!(
            "{} copied, {}, {} in flight",
            count(tally.copied.get(), "event"),
            rate(news, within),
            tally.in_flight.get()
        );
        if let Some(lag) = tally.lag.get() {
            text.push_str(&format!(", lag {}", short(lag)));
        }
        if tally.waiting.get() {
            text.push_str(", waiting for the destination");
        }
        text
    }

    pub(super) fn clear(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}
