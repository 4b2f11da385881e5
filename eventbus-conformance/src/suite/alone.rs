//! Scenarios that need a process to themselves: the program starts itself anew for one.

use std::{
    env,
    process::{Command, ExitCode, Output},
    sync::{Mutex, PoisonError},
};

use super::{Backend, full_name, run_here};
use crate::{Failure, Result, Scenario, Verdict, scenarios};

/// Names the scenario that this process is for.
const ALONE: &str = "EVENTBUS_CONFORMANCE_ALONE";
const FAILED: u8 = 1;
const NOT_APPLICABLE: u8 = 77;

/// One at a time: they watch the clock and each other's noise does not help.
static TURN: Mutex<()> = Mutex::new(());

pub(super) fn run_in_own_process(backend: &Backend, scenario: &Scenario) -> Verdict {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = env::current_exe().and_then(|program| {
        Command::new(program).env(ALONE, full_name(backend, scenario)).output()
    });
    match output {
        Ok(output) => verdict(&output, scenario),
        Err(error) => Verdict::Failed(error.into()),
    }
}

fn verdict(output: &Output, scenario: &Scenario) -> Verdict {
    let said = String::from_utf8_lossy(&output.stdout);
    let need = scenario.needs().iter().find(|need| need.as_str() == said);
    match (output.status.code(), need) {
        (Some(0), _) => Verdict::Passed,
        (Some(code), Some(need)) if code == i32::from(NOT_APPLICABLE) => {
            Verdict::NotApplicable(need.as_str())
        }
        _ => Verdict::Failed(Failure::new(format!(
            "{said}\nin its own process ({}), which wrote:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
        ))),
    }
}

/// Runs the scenario that this process was started for, if it was for one.
pub(super) fn run_if_asked(backends: &[Backend]) -> Option<ExitCode> {
    let wanted = env::var(ALONE).ok()?;
    let found = backends.iter().find_map(|backend| {
        let scenario = scenarios().find(|scenario| full_name(backend, scenario) == wanted)?;
        Some((backend, scenario))
    });
    let outcome: Result<_, String> = match found {
        Some((backend, scenario)) => Ok(run_here(backend, scenario)),
        None => Err(format!("{ALONE} names no scenario: {wanted}")),
    };
    Some(match outcome {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::NotApplicable(need)) => {
            print!("{need}");
            NOT_APPLICABLE.into()
        }
        Ok(Verdict::Failed(failure)) => {
            print!("{failure}");
            FAILED.into()
        }
        Err(message) => {
            print!("{message}");
            FAILED.into()
        }
    })
}
