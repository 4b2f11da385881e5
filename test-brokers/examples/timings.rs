//! Says how long brokers take to start, to stop and to come back.

use std::time::Instant;

use test_brokers::{Error, Kafka, Nats, NatsCluster};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let nats = timed("nats-server: start", Nats::start()).await?;
    timed("nats-server: stop", nats.stop()).await?;
    timed("nats-server: restart", nats.restart()).await?;
    nats.kill();
    timed("nats-server: restart after a kill", nats.restart()).await?;
    drop(timed("nats-server: cluster of three", NatsCluster::start(3)).await?);

    let kafka = timed("Kafka: start", Kafka::start()).await?;
    timed("Kafka: stop", kafka.stop()).await?;
    timed("Kafka: restart", kafka.restart()).await?;
    kafka.kill();
    timed("Kafka: restart after a kill", kafka.restart()).await?;
    Ok(())
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    println!("{what}: {:.2?}", started.elapsed());
    done
}
