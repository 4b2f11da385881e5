//! Publishers and the tasks beside them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use eventbus_core::EventBusExt;

use crate::{Context, Failure, Result, eventually, steps::event, within};

/// A task that publishes in a loop lets the other tasks of its thread run, also while
/// there is always room in the window.
pub async fn publishing_in_a_loop_starves_nobody(ctx: Context) -> Result {
    const COUNT: u64 = 50_000;
    let thread = std::thread::spawn(move || -> Result {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let bus = ctx.bus().await?;
            let topic = ctx.topic("busy")?;
            let published = Arc::new(AtomicU64::new(0));
            let (busy, count) = (bus.clone(), published.clone());
            let publisher = tokio::spawn(async move {
                for n in 0..COUNT {
                    busy.publish(&topic, event(n)).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Result::<_>::Ok(())
            });
            eventually("the publisher to start", || published.load(Ordering::Relaxed) > 0).await?;
            let so_far = published.load(Ordering::Relaxed);
            assert!(so_far < COUNT, "nobody else ran before all was published");
            within("the publisher", publisher).await???;
            within("the close", bus.close()).await??;
            Ok(())
        })
    });
    eventually("the publisher's runtime to end", || thread.is_finished()).await?;
    thread.join().map_err(|_| Failure::new("publishing starved the tasks beside it"))?
}
