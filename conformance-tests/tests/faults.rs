//! One short round for each broker and nemesis; `cargo test -p conformance-tests --test faults
//! nats::kill` selects.

use std::process::ExitCode;

use conformance_tests::faults;

/// Rounds wait more than they work.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, faults::trials(env!("CARGO_BIN_EXE_conformance-tests")))
        .exit_code()
}
