//! Kafka: one node in KRaft mode, on a JVM.

mod install;
mod metadata;
mod node;
mod properties;

pub(crate) use install::install;
pub use node::{Kafka, KafkaBuilder};
