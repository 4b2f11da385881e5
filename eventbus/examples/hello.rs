//! Publish one event and receive it.
//!
//! `cargo run -p eventbus --example hello`, or with `EVENTBUS_URL=nats://127.0.0.1` on a broker.

use eventbus::{Envelope, Error, EventBusExt, SubscribeOptions, Topic};

const GREETINGS: Topic = Topic::from_static("examples.greetings");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var(eventbus::URL_VARIABLE).unwrap_or_else(|_| "memory://".into());
    let bus = eventbus::connect(&url).await?;

    // Without a group: this subscription's own copy of all that is published from now on.
    let mut greetings = bus.subscribe(&GREETINGS.filter(), SubscribeOptions::new()).await?;
    bus.publish(&GREETINGS, Envelope::new("greeting", "hello, world")).await?;

    if let Some(delivery) = greetings.try_next().await? {
        let text = String::from_utf8_lossy(delivery.envelope().payload());
        println!("{} at {}: {text}", delivery.envelope().event_type(), delivery.position());
        delivery.ack().await?;
    }
    bus.close().await
}
