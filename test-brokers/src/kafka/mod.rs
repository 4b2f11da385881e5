//! Kafka in KRaft mode, on JVMs of this machine or in containers.

mod archive;
mod builder;
mod cluster;
mod container;
mod install;
mod metadata;
mod node;
mod properties;
mod security;

pub use builder::KafkaBuilder;
pub use cluster::KafkaCluster;
pub(crate) use install::install;
pub use node::Kafka;
