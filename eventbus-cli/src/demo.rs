//! `eventbus demo`: what an event bus promises, and that it keeps it.

mod groups;
mod shop;
mod story;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use clap::Args;
use eventbus::{Builder, PublishFailure};
use tokio::sync::watch;

use crate::{
    args::Global,
    connect::Target,
    exit::{Exit, Failure},
    tasks::{Task, alive, left_over},
    verdict,
};
use groups::{Billing, Shipping};
use shop::Shop;
use story::Story;

const EXAMPLES: &str = "\
Examples:
  eventbus demo
  eventbus demo --json
  eventbus demo --url memory://?max_in_flight=16     with a small window

On a broker the topics and groups have names of their own for each run. The exit code is 1
when a promise was broken.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {}

pub(crate) async fn run(global: &Global, _: &DemoArgs) -> Result<Exit, Failure> {
    let target = Target::new(global.url())?;
    let before = alive();
    let failures = Arc::new(AtomicU64::new(0));
    let shop = Shop::open(builder(&target, &failures), &target).await?;
    let mut story = Story::begin(&target, &shop, global.json)?;

    let (goal, expected) = watch::channel(None);
    let mut letters = shop.dead_letters().await?;
    let billing = Task::spawn(shop.group(Billing).await?.serve(expected.clone()));
    let shipping = Task::spawn(shop.group(Shipping).await?.serve(expected));

    let published = shop.publish_async().await?;
    let failed = failures.load(Ordering::Acquire);
    story.published_async(&published, failed)?;
    // Without those of the two groups above.
    let working = published.tasks.saturating_sub(before + 2);
    let batch = shop.publish_batch().await;
    story.published_batch(&batch)?;
    let single = shop.publish_sync().await?;
    story.published_sync(&single)?;
    let stored = published.accepted - failed + batch.stored + 1;
    let _ = goal.send(Some(stored));

    let groups = [billing.join().await??, shipping.join().await??];
    let letter = groups::read_letter(&mut letters).await?;
    story.consumed(&groups, letter.as_ref())?;
    drop(letters);
    let stats = shop.bus.stats();
    let closed = shop.bus.close().await;
    drop(shop);
    closed?;
    let left = left_over(before).await;
    let verdicts =
        story::Outcome { stats, batch, stored, groups, letter, working, left }.verdicts();
    story.end(&verdicts)?;
    Ok(if verdict::all_ok(&verdicts) { Exit::Done } else { Exit::Failed })
}

/// The limit for one envelope is small here, so that one that breaks it is small as well.
fn builder(target: &Target, failures: &Arc<AtomicU64>) -> Builder {
    let failures = failures.clone();
    eventbus::builder(&target.url).max_envelope_bytes(shop::MAX_ENVELOPE_BYTES).on_publish_failure(
        move |_: PublishFailure| {
            failures.fetch_add(1, Ordering::AcqRel);
        },
    )
}
