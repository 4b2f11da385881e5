//! What only NATS has, against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod broken;
mod fast;
mod foreign;
mod leave;
mod lost;
mod restart;
mod security;
mod slow;
mod steps;
mod streams;
mod tls;
mod unreadable;
