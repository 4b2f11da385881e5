//! The configuration file of a broker.

use std::path::Path;

/// What one broker's file is made from.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    /// The index of this broker in `controllers`.
    pub(super) index: usize,
    /// The ports of all brokers' controllers.
    pub(super) controllers: &'a [u16],
    pub(super) client: u16,
    /// The port that clients are told to connect to.
    pub(super) advertised: u16,
    /// The port that brokers use among themselves, which is never secured.
    pub(super) internal: u16,
    /// What to listen on, for clients and brokers.
    pub(super) address: &'a str,
    /// The security protocol of `client`.
    pub(super) protocol: &'a str,
    pub(super) store: &'a Path,
}

/// A broker's id, from its index.
pub(super) fn node_id(index: usize) -> usize {
    index + 1
}

impl Properties<'_> {
    /// Few partitions for Kafka's own topics, and no wait for a group's other
    /// members: the first consumer of a test would pay for both. After a kill the
    /// controller lets the broker in again once its session is over: sooner than by
    /// default. Indexes are small, because each partition's are allocated in full, twice 10 MiB
    /// by default, and zeroed by the kernel as they are touched.
    pub(super) fn to_text(&self) -> String {
        let Self { client, advertised, internal, address, protocol, .. } = self;
        let (store, id) = (self.store.display(), node_id(self.index));
        let controller = self.controllers[self.index];
        let voters: Vec<String> = self
            .controllers
            .iter()
            .enumerate()
            .map(|(index, port)| format!("{}@127.0.0.1:{port}", node_id(index)))
            .collect();
        let voters = voters.join(",");
        let replicas = self.controllers.len().min(3);
        let in_sync = replicas.saturating_sub(1).max(1);
        format!(
            "\
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
listeners=CLIENT://{address}:{client},INTERNAL://{address}:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{advertised},INTERNAL://127.0.0.1:{internal}
log.dirs={store}
default.replication.factor={replicas}
min.insync.replicas={in_sync}
log.index.size.max.bytes=262144
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
"
        )
    }
}
