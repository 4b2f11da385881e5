//! Brokers that die or freeze and come back.

mod consuming;
mod publishing;

use std::time::Duration;

use crate::{
    Context, Result, let_pass,
    scenario::{
        need::{DURABLE, PAUSE, RESTART},
        table,
    },
};

pub use self::{consuming::*, publishing::*};

table! { "faults":
    a_workload_without_faults_is_clean,
    acknowledged_survives_broker_restarts needs [RESTART, DURABLE],
    acknowledged_survives_broker_pauses needs [PAUSE],
    group_goes_on_after_a_broker_restart needs [RESTART, DURABLE],
    group_goes_on_after_a_broker_pause needs [PAUSE],
    unsettled_comes_again_after_a_broker_restart needs [RESTART, DURABLE],
    health_tells_that_the_broker_is_away needs [PAUSE],
}

/// What happens to the broker.
#[derive(Clone, Copy)]
enum Fault {
    /// It is killed and comes back.
    Restart,
    /// It is frozen for a while.
    Pause(Duration),
}

impl Fault {
    async fn happen(self, ctx: &Context) -> Result {
        match self {
            Self::Restart => ctx.harness().restart_broker().await?,
            Self::Pause(duration) => {
                ctx.harness().pause_broker().await?;
                let_pass(duration).await;
                ctx.harness().resume_broker().await?;
            }
        }
        Ok(())
    }
}
