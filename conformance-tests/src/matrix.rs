//! The matrix: what came out of each scenario on each backend, natively and in containers, as a
//! page.

mod page;
mod round;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use eventbus_conformance::Suite;

pub use round::Part;
use round::Round;

/// Where brokers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// As processes of this machine.
    Native,
    /// In containers of this machine's engine.
    Containers,
}

impl Place {
    /// What `EVENTBUS_TEST_BROKERS` calls it.
    const fn forced(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Containers => "docker",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Containers => "containers",
        }
    }
}

/// What the matrix is made of.
#[derive(Debug, Args)]
pub struct Options {
    /// Where brokers run.
    #[arg(long, value_delimiter = ',', default_values = ["native", "containers"])]
    places: Vec<Place>,
    /// The file to write, instead of docs/conformance.md.
    #[arg(long)]
    to: Option<PathBuf>,
}

/// Runs the suite once for each backend and place, one after the other, and writes the page.
///
/// # Errors
/// When a round cannot be started or the page not be written.
pub fn run(suite: &Suite, options: &Options) -> io::Result<ExitCode> {
    let mut rounds = Vec::new();
    for backend in suite.backends() {
        let places = match round::has_broker(backend) {
            true => &options.places[..],
            false => &[Place::Native],
        };
        for place in places {
            rounds.push(Round::run(backend, *place)?);
        }
    }
    let standard = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    fs::write(options.to.clone().unwrap_or_else(standard), page::page(&rounds))?;
    Ok(match rounds.iter().all(|round| round.passed) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
