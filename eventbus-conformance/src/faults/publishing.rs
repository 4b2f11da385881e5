//! What was acknowledged is stored and delivered, whatever happens to the broker.

use std::time::Duration;

use super::Fault;
use crate::{
    Context, Result,
    workload::{Mode, Promises, Workload, check},
};

/// Nothing happens to the broker, and nothing is wrong in any mode of publishing.
pub async fn a_workload_without_faults_is_clean(ctx: Context) -> Result {
    let capabilities = ctx.bus().await?.capabilities();
    for mode in Mode::ALL.iter().filter(|mode| mode.is_for(&capabilities)) {
        let mut workload = Workload::new(*mode);
        workload.per_key = true;
        workload.members = 1;
        // Topics have their names from the context.
        let run = workload.start(&ctx.anew()).await?;
        run.flows(400).await?;
        let report = check(&run.finish().await?);
        assert!(report.keeps(&Promises::all()), "{}: {report}", mode.as_str());
    }
    Ok(())
}

/// The broker is killed twice while four writers publish: everything acknowledged is stored and
/// delivered, and nothing that nobody wrote.
pub async fn acknowledged_survives_broker_restarts(ctx: Context) -> Result {
    written_through(ctx, Fault::Restart).await
}

/// The broker is frozen twice for longer than the `ack_timeout`: so can it then.
pub async fn acknowledged_survives_broker_pauses(ctx: Context) -> Result {
    written_through(ctx, Fault::Pause(Duration::from_secs(3))).await
}

async fn written_through(ctx: Context, fault: Fault) -> Result {
    let run = Workload::new(Mode::Receipt).start(&ctx).await?;
    for _ in 0..2 {
        run.flows(100).await?;
        fault.happen(&ctx).await?;
    }
    run.flows(100).await?;
    let promises = Promises::across_reconnect(&run.capabilities());
    let report = check(&run.finish().await?);
    assert!(report.keeps(&promises), "{report}");
    Ok(())
}
