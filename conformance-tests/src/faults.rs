//! Faults: a workload, what happens to its broker, and the table of what came out.

mod command;
mod disk;
mod kafka_site;
mod link;
mod member;
mod memory_site;
mod nats_site;
mod place;
mod plan;
mod round;
mod short;
mod site;
mod strike;
mod table;

pub use command::{Options, run};
pub use short::trials;
pub(crate) use strike::{Nemesis, Strike};

/// The entry of a process that is a member of a group; see [`trials`].
#[must_use]
pub fn run_member(arguments: &[String]) -> Option<std::process::ExitCode> {
    match arguments {
        [command, rest @ ..] if command == member::COMMAND => Some(member::main(rest)),
        _ => None,
    }
}
