//! The configuration file of a broker.

use std::path::Path;

/// Few partitions for Kafka's own topics, and no wait for a group's other members:
/// the first consumer of a test would pay for both. After a kill the controller
/// lets the broker in again once its session is over: sooner than by default.
pub(super) fn text(client: u16, controller: u16, store: &Path) -> String {
    let store = store.display();
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
log.dirs={store}
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
"
    )
}
