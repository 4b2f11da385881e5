use test_brokers::KafkaCluster;

use crate::tool::tool;

const TOPIC: &str = "replicated";

fn create(cluster: &KafkaCluster) {
    let arguments = ["--create", "--topic", TOPIC, "--partitions", "1"];
    tool(cluster.node(0), "org.apache.kafka.tools.TopicCommand", &arguments, "");
}

/// Through this broker, to all replicas that are in sync.
fn produce(cluster: &KafkaCluster, through: usize, value: &str) {
    let arguments = ["--topic", TOPIC, "--request-required-acks", "all"];
    let class = "org.apache.kafka.tools.ConsoleProducer";
    tool(cluster.node(through), class, &arguments, value);
}

fn consume(cluster: &KafkaCluster, through: usize, count: &str) -> Vec<String> {
    let arguments =
        ["--topic", TOPIC, "--from-beginning", "--max-messages", count, "--timeout-ms", "30000"];
    let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    tool(cluster.node(through), class, &arguments, "").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn forms_replicates_and_survives_its_leader() {
    let cluster = KafkaCluster::start(3).await.unwrap();
    assert_eq!(cluster.bootstrap().split(',').count(), 3);
    create(&cluster);
    produce(&cluster, 0, "one\n");

    // A crash.
    let first = cluster.leader_of(TOPIC, 0).await.unwrap();
    cluster.node(first).kill();
    let second = cluster.leader_of(TOPIC, 0).await.unwrap();
    assert_ne!(first, second);
    produce(&cluster, second, "two\n");
    cluster.node(first).restart().await.unwrap();
    cluster.ready().await.unwrap();

    // A frozen one.
    cluster.node(second).pause().unwrap();
    let third = cluster.leader_of(TOPIC, 0).await.unwrap();
    assert_ne!(second, third);
    produce(&cluster, third, "three\n");
    cluster.node(second).resume().unwrap();
    cluster.ready().await.unwrap();

    cluster.rolling_restart().await.unwrap();
    assert_eq!(consume(&cluster, first, "3"), ["one", "two", "three"]);

    // All of it, at once: the store is all that is left.
    cluster.nodes().iter().for_each(test_brokers::Kafka::kill);
    let [a, b, c] = [0, 1, 2].map(|index| cluster.node(index).restart());
    tokio::try_join!(a, b, c).unwrap();
    cluster.ready().await.unwrap();
    assert_eq!(consume(&cluster, second, "3").len(), 3);
}

#[tokio::test]
async fn topics_have_three_replicas_and_two_must_acknowledge() {
    let cluster = KafkaCluster::start(3).await.unwrap();
    create(&cluster);
    let leader = cluster.leader_of(TOPIC, 0).await.unwrap();
    let arguments = ["--describe", "--topic", TOPIC];
    let class = "org.apache.kafka.tools.TopicCommand";
    let said = tool(cluster.node(leader), class, &arguments, "");
    assert!(said.contains("ReplicationFactor: 3"), "{said}");
    assert!(said.contains("min.insync.replicas=2"), "{said}");
}
