//! What only Kafka has, against a real broker. The suite for all backends is elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod cluster;
mod foreign;
mod groups;
mod publish;
mod retention;
mod still;
mod topics;
