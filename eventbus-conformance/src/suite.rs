//! The suite as a program: each scenario on each backend is one named test.

mod alone;
mod panics;

use std::{
    fmt,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::{Failure, Harness, Scenario, Verdict, scenarios};

/// Scenarios spend most of their time waiting, so more run at once than there are cores.
const AT_ONCE: usize = 8;

type MakeHarness = dyn Fn(&Scenario) -> Arc<dyn Harness> + Send + Sync;

/// A backend under test.
#[derive(Clone)]
pub struct Backend {
    name: &'static str,
    harness: Arc<MakeHarness>,
}

impl Backend {
    /// A backend and what makes a harness for a scenario: a new one each time, or a shared
    /// one where the scenario does no harm to others.
    pub fn new(
        name: &'static str,
        harness: impl Fn(&Scenario) -> Arc<dyn Harness> + Send + Sync + 'static,
    ) -> Self {
        let harness = Arc::new(harness);
        Self { name, harness }
    }

    /// The name, as it stands in test names and reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}

/// What became of one scenario on one backend.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The backend.
    pub backend: &'static str,
    /// The scenario.
    pub scenario: &'static Scenario,
    /// What became of it.
    pub verdict: Verdict,
}

/// Backends and all scenarios, with the command line of the usual test programs: a filter,
/// `--exact`, `--list`, `--test-threads` and so on. Scenarios are named
/// `backend::module::name`.
///
/// ```no_run
/// # use std::{process::ExitCode, sync::Arc};
/// # use eventbus_conformance::{Backend, Harness, Suite};
/// # fn my_harness() -> Arc<dyn Harness> { unimplemented!() }
/// // tests/conformance.rs, with `harness = false` in Cargo.toml
/// fn main() -> ExitCode {
///     Suite::new([Backend::new("mine", |_| my_harness())]).main()
/// }
/// ```
#[derive(Debug)]
pub struct Suite {
    backends: Vec<Backend>,
}

impl Suite {
    /// A suite for these backends.
    #[must_use]
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        Self { backends: backends.into_iter().collect() }
    }

    /// The names of the backends, in order.
    pub fn backends(&self) -> impl Iterator<Item = &'static str> {
        self.backends.iter().map(Backend::name)
    }

    /// The `main` of a test program: runs what its command line selects.
    #[must_use]
    pub fn main(self) -> ExitCode {
        match self.run_alone() {
            Some(exit) => exit,
            None => self.run(std::env::args()).0,
        }
    }

    /// When this process was started for one scenario that needs a process to itself, runs
    /// that and gives the status to exit with. A program that does not use
    /// [`main`](Self::main) must call this first.
    #[must_use]
    pub fn run_alone(&self) -> Option<ExitCode> {
        panics::remember_places();
        alone::run_if_asked(&self.backends)
    }

    /// Runs what these arguments select (the first is the name of the program), and gives the
    /// status to exit with and the outcomes of what was run, in the order of the table.
    pub fn run(&self, arguments: impl IntoIterator<Item = String>) -> (ExitCode, Vec<Outcome>) {
        let mut arguments = Arguments::from_iter(arguments);
        arguments.test_threads.get_or_insert(AT_ONCE);
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let trials = self
            .backends
            .iter()
            .flat_map(|backend| scenarios().map(move |scenario| (backend, scenario)))
            .enumerate()
            .map(|(at, (backend, scenario))| trial(at, backend.clone(), scenario, &outcomes))
            .collect();
        let conclusion = libtest_mimic::run(&arguments, trials);
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_by_key(|(at, _)| *at);
        let outcomes = outcomes.drain(..).map(|(_, outcome)| outcome).collect();
        (conclusion.exit_code(), outcomes)
    }
}

type Outcomes = Mutex<Vec<(usize, Outcome)>>;

fn trial(
    at: usize,
    backend: Backend,
    scenario: &'static Scenario,
    outcomes: &Arc<Outcomes>,
) -> Trial {
    let outcomes = outcomes.clone();
    let name = full_name(&backend, scenario);
    Trial::ignorable_test(name, move || {
        let verdict = if scenario.runs_alone() {
            alone::run_in_own_process(&backend, scenario)
        } else {
            run_here(&backend, scenario)
        };
        let completion = match &verdict {
            Verdict::Passed => Ok(Completion::Completed),
            Verdict::Failed(failure) => Err(failure.to_string().into()),
            Verdict::NotApplicable(need) => Ok(Completion::ignored_with(format!("needs {need}"))),
        };
        let outcome = Outcome { backend: backend.name, scenario, verdict };
        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((at, outcome));
        completion
    })
}

fn full_name(backend: &Backend, scenario: &Scenario) -> String {
    format!("{}::{}::{}", backend.name, scenario.module(), scenario.name())
}

/// Runs a scenario on a runtime of its own.
fn run_here(backend: &Backend, scenario: &Scenario) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(crate::leaks::POOL)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Verdict::Failed(error.into()),
    };
    let run = || {
        let harness = (backend.harness)(scenario);
        runtime.block_on(scenario.run(harness))
    };
    let verdict =
        panics::caught(run).unwrap_or_else(|message| Verdict::Failed(Failure::panicked(message)));
    // A handler that blocks for ever must not hold up the suite.
    runtime.shutdown_background();
    verdict
}
