//! How the in-memory bus compares with `tokio::sync::broadcast`.
//!
//! Bus: publish, store, deliver to a group, acknowledge, through `Arc<dyn EventBus>`.
//! Channel: send and receive an `Arc<Envelope>`, with room for everything, so that nothing
//! lags. Both make the envelopes on the way. The pairs are interleaved, because a machine is
//! not equally fast at all times.
//!
//! `cargo run --release -p eventbus-bench --example memory_vs_broadcast -- [messages] [pairs]`

use std::{
    error::Error as StdError,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventbus_core::{Envelope, EventBus, EventBusExt, Registry, Start, SubscribeOptions, Topic};
use tokio::sync::broadcast;

const TOPIC: Topic = Topic::from_static("bench.memory");
const PAYLOAD: [u8; 256] = [b'x'; 256];

type Outcome<T> = Result<T, Box<dyn StdError + Send + Sync>>;

fn envelope() -> Envelope {
    Envelope::new("bench.message", Bytes::copy_from_slice(&PAYLOAD)).key("key-1")
}

async fn through_the_bus(messages: usize) -> Outcome<Duration> {
    let mut registry = Registry::new();
    eventbus_memory::register(&mut registry);
    // Retention must not take part: everything fits.
    let url = format!("memory://?retention_bytes={}", messages * 1024);
    let bus = registry.builder(&url).connect().await?;
    let options = SubscribeOptions::group("bench").start(Start::Earliest);
    let mut subscription = bus.subscribe(&TOPIC.filter(), options).await?;

    let started = Instant::now();
    let publisher = tokio::spawn(publish(bus.clone(), messages));
    let consumer = tokio::spawn(async move {
        for _ in 0..messages {
            let delivery = subscription.try_next().await?.ok_or("the subscription ended")?;
            delivery.ack().await?;
        }
        Outcome::Ok(started.elapsed())
    });
    publisher.await??;
    let elapsed = consumer.await??;
    bus.close().await?;
    Ok(elapsed)
}

async fn publish(bus: Arc<dyn EventBus>, messages: usize) -> Outcome<()> {
    for _ in 0..messages {
        bus.publish(&TOPIC, envelope()).await?;
    }
    Ok(bus.flush().await?)
}

async fn through_a_channel(messages: usize) -> Outcome<Duration> {
    let (sender, mut receiver) = broadcast::channel(messages);

    let started = Instant::now();
    let publisher = tokio::spawn(async move {
        for _ in 0..messages {
            sender.send(Arc::new(envelope())).map_err(|_| "the receiver is gone")?;
        }
        Outcome::Ok(())
    });
    let consumer = tokio::spawn(async move {
        for _ in 0..messages {
            // A lag would be an error.
            std::hint::black_box(receiver.recv().await?);
        }
        Outcome::Ok(started.elapsed())
    });
    publisher.await??;
    consumer.await?
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let messages = arguments.next().map_or(Ok(300_000), |text| text.parse())?;
    let pairs = arguments.next().map_or(Ok(7), |text| text.parse())?.max(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "{messages} messages of {} bytes, {pairs} pairs, thousands per second\n",
        PAYLOAD.len()
    );
    println!("pair     memory  broadcast   ratio");

    let rate = |elapsed: Duration| messages as f64 / elapsed.as_secs_f64() / 1e3;
    let mut ratios = Vec::new();
    // The first pair warms up the allocator and does not count.
    for pair in 0..=pairs {
        let (bus, channel) = runtime.block_on(async {
            // Which goes first changes, so that neither always has the warmer machine.
            if pair % 2 == 0 {
                let bus = through_the_bus(messages).await?;
                Outcome::Ok((bus, through_a_channel(messages).await?))
            } else {
                let channel = through_a_channel(messages).await?;
                Ok((through_the_bus(messages).await?, channel))
            }
        })?;
        let (bus, channel) = (rate(bus), rate(channel));
        let name = if pair == 0 { "warm-up".to_owned() } else { pair.to_string() };
        println!("{name:7}  {bus:6.0}  {channel:9.0}  {:6.2}", bus / channel);
        if pair > 0 {
            ratios.push(bus / channel);
        }
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "\nmedian ratio {:.2}, from {:.2} to {:.2}; to reach: 0.60",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    );
    Ok(())
}
