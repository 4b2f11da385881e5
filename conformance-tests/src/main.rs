//! `matrix` runs the suite on all backends and writes `docs/conformance.md`.

use std::process::ExitCode;

use conformance_tests::{matrix, suite};

fn main() -> ExitCode {
    let suite = suite();
    if let Some(exit) = suite.run_alone() {
        return exit;
    }
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    if arguments.next().as_deref() != Some("matrix") || arguments.next().is_some() {
        eprintln!("usage: conformance-tests matrix");
        return ExitCode::from(2);
    }
    let (exit, outcomes) = suite.run([program]);
    match matrix::write(&outcomes) {
        Ok(()) => exit,
        Err(error) => {
            eprintln!("cannot write {}: {error}", matrix::path().display());
            ExitCode::FAILURE
        }
    }
}
