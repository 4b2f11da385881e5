//! NATS, with real servers.

#![allow(clippy::unwrap_used)]

mod client;
mod cluster;
mod connections;
mod controls;
mod leftovers;
mod places;
mod program;
mod security;
#[path = "../support/until.rs"]
mod until;
