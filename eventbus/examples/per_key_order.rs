//! Each key in order, although one of its messages has to be tried again.
//!
//! `cargo run -p eventbus --example per_key_order`

use std::{collections::HashMap, time::Duration};

use eventbus::{Envelope, Error, EventBusExt, Ordering, SubscribeOptions, Topic};

const ACCOUNTS: Topic = Topic::from_static("examples.accounts");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let bus = eventbus::connect("memory://").await?;
    for step in ["opened", "credited", "closed"] {
        for account in ["alice", "bob"] {
            bus.publish(&ACCOUNTS, Envelope::new(step, "").key(account)).await?;
        }
    }

    let options = SubscribeOptions::group("ledger").ordering(Ordering::PerKey);
    let mut accounts = bus.subscribe(&ACCOUNTS.filter(), options).await?;
    let mut history: HashMap<String, Vec<String>> = HashMap::new();
    let mut done = 0;
    while done < 6
        && let Some(delivery) = accounts.try_next().await?
    {
        let account = delivery.envelope().aggregate_id().unwrap_or_default().to_owned();
        let step = delivery.envelope().event_type().to_owned();
        if account == "alice" && step == "opened" && delivery.attempt() == 1 {
            println!("alice: opened, to be tried again; bob goes on meanwhile");
            delivery.nack(Duration::from_millis(50)).await?;
            continue;
        }
        println!("{account}: {step}, attempt {}", delivery.attempt());
        history.entry(account).or_default().push(step);
        delivery.ack().await?;
        done += 1;
    }
    for (account, steps) in &history {
        assert_eq!(steps, &["opened", "credited", "closed"], "{account}");
    }
    bus.close().await
}
