//! `Ordering::PerKey` across the members of a group.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use eventbus_core::{Envelope, Ordering, Subscription};
use tokio::task::JoinSet;

use crate::{
    Context, Result, eventually,
    steps::{key_of, keyed, next, number, publish_all, settle, take_until},
    within,
};

const COUNT: u64 = 100;
const KEYS: u64 = 3;

/// What the members of a group have come to, key by key.
#[derive(Clone, Default)]
struct Progress(Arc<Mutex<HashMap<String, u64>>>);

impl Progress {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event was handed out: its predecessor must have been settled, or be about to.
    fn handed_out(&self, envelope: &Envelope) {
        let (key, n) = (key_of(envelope), number(envelope));
        let settled = self.lock().get(&key).copied().unwrap_or_default();
        assert!(n <= settled, "key {key}: {n} was handed out while {settled} was next");
    }

    fn settling(&self, envelope: &Envelope) {
        let mut progress = self.lock();
        let next = progress.entry(key_of(envelope)).or_default();
        *next = (*next).max(number(envelope) + 1);
    }

    fn is_complete(&self) -> bool {
        let progress = self.lock();
        progress.len() as u64 == KEYS && progress.values().all(|next| *next == COUNT)
    }
}

/// A member that leaves after so many deliveries.
async fn work(mut subscription: Subscription, progress: Progress, deliveries: u64) -> Result {
    for _ in 0..deliveries {
        let delivery = next(&mut subscription).await?;
        let envelope = delivery.envelope().clone();
        progress.handed_out(&envelope);
        tokio::time::sleep(Duration::from_millis(1)).await;
        progress.settling(&envelope);
        settle(delivery.ack().await)?;
    }
    Ok(())
}

/// Members come and go while the events of a few keys flow: a key's next event is handed
/// out to one of them, and only once the last one is settled.
pub async fn per_key_holds_while_members_join_and_leave(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey);
    let progress = Progress::default();
    let mut members = JoinSet::new();
    let anchor = bus.subscribe(&topic.filter(), options.clone()).await?;
    let events = (0..COUNT).flat_map(|n| (0..KEYS).map(move |key| keyed(&format!("k{key}"), n)));
    publish_all(&bus, &topic, events).await?;
    members.spawn(work(anchor, progress.clone(), u64::MAX));
    for round in 0..6 {
        let member = bus.subscribe(&topic.filter(), options.clone()).await?;
        members.spawn(work(member, progress.clone(), 10 + round * 5));
    }
    let all = progress.clone();
    let complete = eventually("all to be settled", move || all.is_complete()).await;
    members.abort_all();
    while let Some(outcome) = members.join_next().await {
        match outcome {
            Err(error) if error.is_cancelled() => {}
            outcome => outcome??,
        }
    }
    complete
}

/// What one member leaves unsettled comes before its successors for the next member.
pub async fn per_key_survives_a_change_of_member(ctx: Context) -> Result {
    let bus = ctx.bus().await?;
    let topic = ctx.topic("keys")?;
    let options = ctx.group("all").ordering(Ordering::PerKey).ack_wait(Duration::from_secs(2));
    let leaving = ctx.bus().await?;
    let mut first = leaving.subscribe(&topic.filter(), options.clone()).await?;
    publish_all(&bus, &topic, (1..=5).map(|n| keyed("a", n))).await?;
    let delivery = next(&mut first).await?;
    assert_eq!(number(delivery.envelope()), 1);
    drop((delivery, first));
    within("the close", leaving.close()).await??;
    let mut second = bus.subscribe(&topic.filter(), options).await?;
    assert_eq!(take_until(&mut second, 5).await?, [1, 2, 3, 4, 5]);
    Ok(())
}
