//! nats-server: one, or a cluster.

mod builder;
mod cluster;
mod config;
mod operator;
mod server;
mod users;

pub use builder::{NatsBuilder, Tls};
pub use cluster::NatsCluster;
pub use operator::Operator;
pub use server::Nats;
pub use users::{Nkey, User};
