//! How far long work is.

use std::{
    fmt,
    io::{self, IsTerminal},
};
#[cfg(feature = "bench")]
use std::{
    io::Write,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often measurements tell where they are without a terminal.
#[cfg(feature = "bench")]
const EVERY: Duration = Duration::from_secs(60);

/// How far measurements are: a bar on a terminal, and elsewhere a line a minute, because all of them can
/// take an hour.
#[cfg(feature = "bench")]
pub(crate) struct Steps {
    bar: ProgressBar,
    total: u64,
    /// When the last line was written, if lines are.
    told: Option<Instant>,
}

#[cfg(feature = "bench")]
impl Steps {
    pub(crate) fn new(total: u64, json: bool) -> Self {
        let bar = bar(total, "", json);
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {human_pos}/{human_len}  {msg}") {
            bar.set_style(style);
        }
        let told = (!json && !io::stderr().is_terminal()).then(Instant::now);
        Self { bar, total, told }
    }

    pub(crate) fn show(&mut self, done: u64, what: String) {
        if self.told.is_some_and(|told| told.elapsed() >= EVERY) {
            self.told = Some(Instant::now());
            // Who does not read it is not to stop the measurements.
            let _ = writeln!(io::stderr(), "{done}/{}  {what}", self.total);
        }
        self.bar.set_position(done);
        self.bar.set_message(what);
    }

    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar of `total` steps on standard error, if that is a terminal.
pub(crate) fn bar(
    total: u64,
    what: impl Into<std::borrow::Cow<'static, str>>,
    json: bool,
) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{msg} {bar:40} {human_pos}/{human_len}  {rate}  {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_message(what);
    bar
}
