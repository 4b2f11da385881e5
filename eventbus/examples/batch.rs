//! Publish a batch of which one envelope cannot be stored, and see exactly which.
//!
//! `cargo run -p eventbus --example batch`

use eventbus::{Envelope, Error, EventBusExt, Topic};

const READINGS: Topic = Topic::from_static("examples.readings");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bus = eventbus::builder("memory://").max_envelope_bytes(1024).connect().await?;

    let sizes = [10, 100, 5000, 50];
    let batch = sizes.map(|size| Envelope::new("reading", vec![0; size])).to_vec();
    match bus.publish_batch(&READINGS, batch).await {
        Ok(receipts) => println!("all {} stored", receipts.len()),
        Err(error) => {
            for (index, receipt) in error.receipts() {
                let position = receipt.position().map(ToString::to_string);
                println!("{index}: stored at {}", position.as_deref().unwrap_or("unknown"));
            }
            for failure in error.into_failures() {
                let (reason, envelope) = failure.error.into_parts();
                println!("{}: {} came back: {reason}", failure.index, envelope.id());
            }
        }
    }
    bus.close().await
}
