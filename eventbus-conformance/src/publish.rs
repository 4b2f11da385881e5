//! Accepting, acknowledging, failing, flushing and closing.

mod atomic;
mod batch;
mod cancelling;
mod close;
mod dropping;
mod envelope;
mod failures;
mod fairness;
mod flush;
mod handler;
mod options;
mod retry;
mod window;

use crate::scenario::{
    need::{
        A_MISSING_CAPABILITY, ATOMIC_BATCH, DURABLE, ENGINE_RETRY, FAIL_SENDS, HOLD_ACKS,
        IDEMPOTENT_PUBLISH, RESTART, SINGLE_TOPICS,
    },
    table,
};

pub use self::{
    atomic::*, batch::*, cancelling::*, close::*, dropping::*, envelope::*, failures::*,
    fairness::*, flush::*, handler::*, options::*, retry::*, window::*,
};
pub(crate) use self::{failures::broken, retry::away};

table! { "publish":
    window_of_one_carries_every_mode,
    window_of_sixteen_carries_every_mode,
    count_limit_makes_publishers_wait needs [HOLD_ACKS],
    byte_limit_makes_publishers_wait needs [HOLD_ACKS],
    full_window_serves_first_come_first needs [HOLD_ACKS],
    in_flight_stays_within_the_window_under_load,
    sixty_four_publishers,
    publishing_in_a_loop_starves_nobody,
    try_publish_is_delivered,
    try_publish_is_refused_at_once_when_full needs [HOLD_ACKS],
    every_field_and_hostile_headers_survive,
    empty_payload_survives,
    exactly_max_envelope_bytes_and_one_more,
    receipt_names_where_it_is_delivered_from,
    delivery_tells_when_it_was_published,
    cancelled_publish_was_not_accepted needs [HOLD_ACKS],
    cancelled_publishes_leave_no_trace needs [HOLD_ACKS],
    cancelled_waiting_publish_was_accepted needs [HOLD_ACKS],
    handler_gets_each_failure_once_with_its_envelope needs [FAIL_SENDS],
    handler_may_panic needs [FAIL_SENDS],
    handler_may_block_and_delays_nobody_else needs [FAIL_SENDS],
    handler_may_publish needs [FAIL_SENDS],
    handler_holds_the_permit_until_it_returns needs [FAIL_SENDS],
    awaited_failures_come_back_and_nowhere_else needs [FAIL_SENDS],
    dropped_receipt_hands_its_failure_to_the_handler needs [FAIL_SENDS],
    receipt_dropped_in_flight_hands_its_failure_to_the_handler needs [HOLD_ACKS],
    ack_timeout_is_ambiguous needs [HOLD_ACKS],
    late_acks_are_counted needs [HOLD_ACKS],
    failed_and_acknowledged_add_up needs [FAIL_SENDS],
    retried_until_it_is_stored needs [ENGINE_RETRY, FAIL_SENDS],
    retry_gives_up_with_the_last_error needs [ENGINE_RETRY, FAIL_SENDS],
    without_a_policy_nothing_is_retried needs [FAIL_SENDS],
    one_publish_may_bring_its_own_retry_policy needs [ENGINE_RETRY, FAIL_SENDS],
    refused_by_the_broker_is_not_retried needs [ENGINE_RETRY, FAIL_SENDS],
    idempotent_publish_is_stored_once needs [IDEMPOTENT_PUBLISH],
    idempotent_publish_stays_so_when_retried
        needs [ENGINE_RETRY, IDEMPOTENT_PUBLISH, FAIL_SENDS],
    atomic_batch_is_stored_in_one_piece needs [ATOMIC_BATCH],
    atomic_batch_with_a_bad_envelope_is_not_stored needs [ATOMIC_BATCH],
    atomic_batch_beyond_a_limit_is_refused needs [ATOMIC_BATCH],
    atomic_batches_share_a_window needs [ATOMIC_BATCH],
    cancelled_atomic_batch_leaves_no_trace needs [ATOMIC_BATCH, HOLD_ACKS],
    atomic_batch_times_out_as_one needs [ATOMIC_BATCH, HOLD_ACKS],
    atomic_batch_fails_as_one needs [ATOMIC_BATCH, FAIL_SENDS],
    atomic_batches_are_whole_after_a_broker_restart needs [RESTART, DURABLE, ATOMIC_BATCH],
    missing_capabilities_are_refused_by_name needs [A_MISSING_CAPABILITY],
    verified_topics_must_exist needs [SINGLE_TOPICS],
    ensure_topic_creates_once_and_again,
    batch_resolves_when_all_are_stored,
    batch_waits_for_every_verdict needs [HOLD_ACKS],
    empty_batch_is_nothing,
    batch_may_be_larger_than_the_window,
    two_batches_of_ten_windows_at_once,
    batch_names_failed_indices needs [FAIL_SENDS],
    batch_names_refused_indices,
    cancelled_batch_leaves_the_accepted_in_flight needs [HOLD_ACKS],
    cancelled_batch_hands_failures_to_the_handler needs [HOLD_ACKS],
    flush_of_an_idle_bus_is_done,
    flush_waits_for_every_verdict needs [HOLD_ACKS],
    flush_waits_for_the_failure_handler needs [FAIL_SENDS],
    flush_is_not_held_up_by_later_publishers,
    flush_is_bounded_by_the_ack_timeout needs [HOLD_ACKS],
    close_flushes_what_was_accepted,
    close_reports_all_in_flight needs [HOLD_ACKS],
    close_refuses_those_who_wait needs [HOLD_ACKS],
    close_twice_is_harmless,
    cancelled_close_can_be_called_again needs [HOLD_ACKS],
    closed_bus_refuses_everything,
    dropped_bus_accounts_for_everything,
    drop_reports_all_in_flight needs [HOLD_ACKS],
    drop_outside_a_runtime_reports_all_in_flight needs [HOLD_ACKS],
    drop_after_the_runtime_reports_all_in_flight needs [HOLD_ACKS],
}
