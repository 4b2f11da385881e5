//! How fast sea-streamer publishes to Kafka with many messages in flight, for `compare.sh`.
//!
//! `sea-streamer-peer BROKERS TOPIC MESSAGES SIZE WINDOW` prints messages per second.

use std::{collections::VecDeque, error::Error, time::Instant};

use sea_streamer_kafka::{KafkaConnectOptions, KafkaProducerOptions, KafkaStreamer};
use sea_streamer_types::{Producer, StreamKey, Streamer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic, messages, size, window] = &arguments[..] else {
        return Err("give brokers, topic, messages, size and window".into());
    };
    let (messages, window): (usize, usize) = (messages.parse()?, window.parse()?);
    let payload = vec![b'x'; size.parse()?];
    let uri = format!("kafka://{brokers}").parse()?;
    let streamer = KafkaStreamer::connect(uri, KafkaConnectOptions::default()).await?;
    let mut options = KafkaProducerOptions::default();
    // What the bus sets.
    options.add_custom_option("enable.idempotence", "true");
    options.add_custom_option("acks", "all");
    options.add_custom_option("linger.ms", "0");
    let producer = streamer.create_producer(StreamKey::new(topic)?, options).await?;
    // Clients find out with the first message who leads a topic.
    producer.send(&payload[..])?.await?;
    let started = Instant::now();
    let mut sent = VecDeque::with_capacity(window);
    for _ in 0..messages {
        if sent.len() == window
            && let Some(oldest) = sent.pop_front()
        {
            let oldest: sea_streamer_kafka::SendFuture = oldest;
            oldest.await?;
        }
        sent.push_back(producer.send(&payload[..])?);
    }
    for rest in sent {
        rest.await?;
    }
    println!("{:.1}", messages as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
