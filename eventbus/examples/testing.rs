//! Testing your own service on the in-memory backend: what it publishes, and what it does
//! when publishing fails.
//!
//! `cargo run -p eventbus --example testing`; in your project these are `#[tokio::test]`s.

use std::time::Duration;

use eventbus::{
    Envelope, Error, ErrorKind, EventBus, EventBusExt, PublishError, Topic, memory::testing,
};

const ORDERS: Topic = Topic::from_static("examples.orders");

/// The service under test: it depends on the trait, not on a backend.
struct Shop<'a> {
    bus: &'a dyn EventBus,
}

impl Shop<'_> {
    async fn order(&self, id: u32) -> Result<(), PublishError> {
        let envelope = Envelope::new("order.created", id.to_string()).key(id.to_string());
        self.bus.publish_sync(&ORDERS, envelope).await.map(drop)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (bus, probe) = testing::bus().await;
    let shop = Shop { bus: &*bus };

    shop.order(1).await?;
    let published = probe.wait_published(&ORDERS, 1, Duration::from_secs(5)).await?;
    assert_eq!(published[0].aggregate_id(), Some("1"));

    probe.fail_next(1, Error::new(ErrorKind::Unavailable, "the broker is away"));
    let refused = shop.order(2).await;
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::Unavailable));

    println!("the shop publishes its orders, and says so when it cannot");
    Ok(bus.close().await?)
}
