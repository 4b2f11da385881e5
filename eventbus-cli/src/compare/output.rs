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
    let left = step.left.map_or_else(String::new, |left| {
        let seconds = std::time::Duration::from_secs(left.as_secs());
        format!("about {} left  ", humantime::format_duration(seconds))
    });
    let shape = step.cell.shape;
    format!("{left}{} · {} · {} B · {shape}", job.party(), job.load.mode, job.load.size)
}

pub(super) fn table(out: &mut Out, comparison: &Comparison) -> Result<(), Failure> {
    Ok(write!(out, "{comparison}")?)
}

/// An earlier comparison.
pub(super) fn read(path: &Path) -> Result<Comparison, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} holds no comparison: {error}", path.display())))
}

/// Makes the directory of the report before anything is measured for it.
pub(super) fn check_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))
}

/// Writes the report and gives where the page is.
pub(super) fn write_report(directory: &Path, comparison: &Comparison) -> Result<PathBuf, Failure> {
    let write = |name: &str, text: &str| {
        let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
        // Whoever is killed meanwhile leaves the one before.
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|error| unwritable(&path, &error)).map(|()| path)
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
