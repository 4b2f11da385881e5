//! The progress bar.

use std::{fmt, io::IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar of `total` measurements, whose message says what is left.
#[cfg(feature = "bench")]
pub(crate) fn steps(total: u64, json: bool) -> ProgressBar {
    let bar = bar(total, "tuning", json);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {human_pos}/{human_len}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A bar of `total` steps on standard error, if that is a terminal.
pub(crate) fn bar(
    total: u64,
    what: impl Into<std::borrow::Cow<'static, str>>,
    json: bool,
) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
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
