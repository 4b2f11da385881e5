//! What is left behind: tasks, descriptors, threads. These scenarios have a process to
//! themselves, because two of these are counted for the whole process.

mod footprint;
mod left_behind;
mod under_load;

use crate::scenario::{
    need::{FAILED_CONNECT, HOLD_ACKS, UNANSWERED_CLOSE},
    table,
};

pub use self::{left_behind::*, under_load::*};

/// The name of the threads that a runtime of the suite has, which are not counted.
pub(crate) const POOL: &str = "suite-runtime";

table! { "leaks":
    close_leaves_nothing,
    close_with_messages_in_flight_leaves_nothing needs [HOLD_ACKS],
    close_without_answers_leaves_nothing needs [HOLD_ACKS, UNANSWERED_CLOSE],
    drop_leaves_nothing,
    cancelled_futures_leave_nothing,
    failed_connects_leave_nothing needs [FAILED_CONNECT],
    hundred_rounds_leave_nothing,
    subscriptions_dropped_mid_stream_leave_nothing,
    tasks_do_not_grow_with_ten_thousand_in_flight,
    tasks_do_not_grow_with_ten_thousand_unanswered needs [HOLD_ACKS],
    tasks_do_not_grow_with_deliveries,
}
