//! A graceful shutdown: on Ctrl-C stop taking messages, finish those in hand, close.
//!
//! `cargo run -p eventbus --example shutdown` (ends by itself after ten messages)

use eventbus::{Envelope, Error, EventBusExt, SubscribeOptions, Topic};

const JOBS: Topic = Topic::from_static("examples.jobs");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bus = eventbus::connect("memory://").await?;
    for number in 0..100 {
        bus.publish(&JOBS, Envelope::json("job", &number)?).await?;
    }

    let mut jobs = bus.subscribe(&JOBS.filter(), SubscribeOptions::group("workers")).await?;
    let stopper = jobs.stopper();
    let on_signal = stopper.clone();
    let signal = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            on_signal.stop();
        }
    });

    let mut done = 0;
    while let Some(job) = jobs.try_next().await? {
        job.ack().await?;
        done += 1;
        if done == 10 {
            // Stands in for Ctrl-C: the loop ends, nothing that was not handed out is touched.
            stopper.stop();
        }
    }
    println!("{done} jobs done, the rest is left for the next start");

    signal.abort();
    // Publishes what is in flight, waits for deliveries that are still held, stops everything.
    bus.close().await
}
