//! Where a server runs when no engine answers.

use std::process::{Command, Output};

/// A command with NATS, while the engine is said to be where nothing is.
fn without_engine(forced: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-brokers"));
    command
        .args(["with", "nats", "--", "true"])
        .env("DOCKER_HOST", "unix:///no/engine")
        .env_remove("EVENTBUS_TEST_BROKERS")
        .env_remove("EVENTBUS_TEST_NATS_URL");
    if let Some(place) = forced {
        command.env("EVENTBUS_TEST_BROKERS", place);
    }
    command.output().unwrap()
}

#[test]
fn without_an_engine_servers_are_native() {
    let output = without_engine(None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("NATS is native"), "{said}");
}

#[test]
fn containers_that_are_asked_for_and_cannot_be_say_what_to_do() {
    let output = without_engine(Some("docker"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("no container engine answers"), "{said}");
    assert!(said.contains("EVENTBUS_TEST_BROKERS=native"), "{said}");
}
