//! A worker that retries what fails for a while and dead-letters what fails for good.
//!
//! `cargo run -p eventbus --example worker`

use std::time::Duration;

use eventbus::{Delivery, Envelope, Error, EventBusExt, SubscribeOptions, Topic, dead_letter};

const ORDERS: Topic = Topic::from_static("examples.orders");
const DEAD: Topic = Topic::from_static("dead.examples.orders");

/// A card that works at the second attempt, one that never does, and a bad order.
fn charge(delivery: &Delivery) -> Result<(), &'static str> {
    match delivery.envelope().event_type() {
        "flaky" if delivery.attempt() < 2 => Err("the bank did not answer"),
        "broken" => Err("the card is blocked"),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bus = eventbus::connect("memory://").await?;
    for kind in ["fine", "flaky", "broken", "nonsense"] {
        bus.publish(&ORDERS, Envelope::new(kind, "").key(kind)).await?;
    }

    let dead = SubscribeOptions::group("audit");
    let mut dead = bus.subscribe(&DEAD.filter(), dead).await?;
    let options = SubscribeOptions::group("billing").max_attempts(3).dead_letter(DEAD);
    let mut orders = bus.subscribe(&ORDERS.filter(), options).await?;
    let mut letters = 0;
    while letters < 2 {
        tokio::select! {
            delivery = orders.try_next() => {
                let Some(delivery) = delivery? else { break };
                let (kind, attempt) = (delivery.envelope().event_type().to_owned(), delivery.attempt());
                if kind == "nonsense" {
                    println!("{kind}: rejected");
                    delivery.reject("not an order").await?;
                } else if let Err(reason) = charge(&delivery) {
                    println!("{kind}: attempt {attempt} failed: {reason}");
                    delivery.nack(Duration::from_millis(20)).await?;
                } else {
                    println!("{kind}: done at attempt {attempt}");
                    delivery.ack().await?;
                }
            }
            letter = dead.try_next() => {
                let Some(letter) = letter? else { break };
                let reason = letter.envelope().header(dead_letter::REASON).unwrap_or_default();
                println!("dead letter: {}: {reason}", letter.envelope().event_type());
                letter.ack().await?;
                letters += 1;
            }
        }
    }
    bus.close().await
}
