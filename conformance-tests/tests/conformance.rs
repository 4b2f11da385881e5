//! Every scenario on every backend; `cargo test -p conformance-tests memory::order` selects.

use std::process::ExitCode;

fn main() -> ExitCode {
    conformance_tests::suite().main()
}
