use test_brokers::NatsCluster;

use crate::client::Client;

#[tokio::test]
async fn forms_replicates_and_survives_its_leader() {
    let cluster = NatsCluster::start(3).await.unwrap();
    assert_eq!(cluster.url().split(',').count(), 3);
    cluster.meta_leader().await.unwrap();

    let mut client = Client::connect(cluster.node(0).port()).await.unwrap();
    client.create_stream("REPLICATED", 3).await;
    let first = cluster.leader_of("REPLICATED").await.unwrap();
    client.request("REPLICATED.a", "one").await.unwrap();

    cluster.node(first).kill();
    let second = cluster.leader_of("REPLICATED").await.unwrap();
    assert_ne!(first, second);

    let mut client = Client::connect(cluster.node(second).port()).await.unwrap();
    let answer = client.request("REPLICATED.a", "two").await.unwrap();
    assert_eq!(answer["seq"], 2);

    cluster.node(first).restart().await.unwrap();
    cluster.ready().await.unwrap();
    let mut client = Client::connect(cluster.node(first).port()).await.unwrap();
    assert_eq!(client.messages("REPLICATED").await, 2);
}

#[tokio::test]
async fn a_frozen_leader_is_replaced() {
    let cluster = NatsCluster::start(3).await.unwrap();
    let mut client = Client::connect(cluster.node(0).port()).await.unwrap();
    client.create_stream("FROZEN", 3).await;

    let first = cluster.leader_of("FROZEN").await.unwrap();
    cluster.node(first).pause().unwrap();
    let second = cluster.leader_of("FROZEN").await.unwrap();
    assert_ne!(first, second);

    cluster.node(first).resume().unwrap();
    cluster.ready().await.unwrap();
}
