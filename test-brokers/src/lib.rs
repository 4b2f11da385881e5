//! Starts real brokers for tests and comparisons, and leaves nothing behind.
//!
//! ```no_run
//! # async fn example() -> Result<(), test_brokers::Error> {
//! use test_brokers::Nats;
//!
//! let nats = Nats::start().await?;
//! println!("{} is server {}", nats.url(), nats.version());
//! nats.kill();
//! nats.restart().await?; // the same port, the same store
//! # Ok(())
//! # }
//! ```
//!
//! - [`Nats`], [`NatsCluster`], [`Kafka`] and [`KafkaCluster`] are servers of this
//!   process, with every fault control.
//! - [`Toxiproxy`] breaks the connections to any of them.
//! - [`discover`] takes a broker from the environment where one is given, and
//!   starts one otherwise: for tests that need a broker and no fault.
//! - The program `test-brokers` does the same around any command.
//!
//! Single brokers run in containers where an engine answers and an image can be had,
//! with the same controls; [`discover`] says which images, and how to choose.
//!
//! Native servers are built once (nats-server by the Go toolchain, Kafka from its
//! jars by Maven) and cached in `target/test-brokers`; [`prepare`] does it ahead
//! of time. Each process has a directory of its own in `target/test-brokers/run`.
//! Brokers, containers and directories go away when their values are dropped, and
//! also when the process ends in any other way: a panic, Ctrl-C, `kill -9`.

#[cfg(not(unix))]
compile_error!("test-brokers starts and signals processes the Unix way");

mod cache;
mod container;
pub mod discover;
mod docker;
mod engine;
mod error;
mod guard;
mod http;
mod kafka;
mod nats;
mod port;
pub mod prepare;
mod process;
mod tls;
mod toxiproxy;
mod wait;

pub use discover::Found;
pub use error::Error;
pub use kafka::{Kafka, KafkaBuilder, KafkaCluster};
pub use nats::{Nats, NatsBuilder, NatsCluster, Nkey, Operator, Tls, User};
pub use tls::{Certificates, Identity};
pub use toxiproxy::{Proxy, Toxiproxy};
