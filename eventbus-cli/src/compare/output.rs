//! What a comparison shows.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use eventbus_bench::compare::{Comparison, Step};

use crate::{connect::Target, exit::Failure, output::Out};

/// What is being measured, for the progress bar.
pub(super) fn step(step: &Step<'_>) -> String {
    let job = step.job;
    format!("{} · {} · {} B · {}", job.party(), job.load.mode, job.load.size, step.cell.shape)
}

pub(super) fn table(out: &mut Out, comparison: &Comparison) -> Result<(), Failure> {
    Ok(write!(out, "{comparison}")?)
}

/// Makes the directory of the report before anything is measured for it.
pub(super) fn check_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))
}

/// Writes the report and gives where the page is.
pub(super) fn write_report(directory: &Path, comparison: &Comparison) -> Result<PathBuf, Failure> {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| unwritable(&path, &error)).map(|()| path)
    };
    let json = serde_json::to_string(comparison)
        .map_err(|error| Failure::failed(format!("the comparison is no JSON: {error}")))?;
    write("comparison.json", &json)?;
    for (name, plot) in comparison.to_svgs() {
        write(&format!("{name}.svg"), &plot)?;
    }
    write("report.html", &comparison.to_html())
}

/// The command line, without what URLs may hold of secrets.
pub(super) fn command() -> String {
    let harmless = |argument: String| match argument.split_once("://") {
        None => argument,
        Some((before, _)) => {
            let (name, url) = match before.rsplit_once('=') {
                Some((name, _)) => argument.split_at(name.len() + 1),
                None => ("", argument.as_str()),
            };
            let place = Target::new(url).map_or_else(|_| "…".to_owned(), |target| target.place);
            format!("{name}{place}")
        }
    };
    let arguments = std::env::args().skip(1).map(harmless);
    std::iter::once("eventbus".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be written: {error}", path.display()))
}
