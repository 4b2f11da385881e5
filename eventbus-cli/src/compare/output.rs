//! What a comparison shows.

use std::{io::Write, path::Path};

use eventbus_bench::compare::{Comparison, Step};

use crate::{exit::Failure, output::Out};

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

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be written: {error}", path.display()))
}
