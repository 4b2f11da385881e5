//! Settling deliveries, redelivery, and dead letters.

mod acknowledging;
mod attempts;
mod closing;
mod dead_letters;
mod exhaustion;
mod flow;
mod redelivery;
mod restarts;
mod stopping;
mod undecodable;

use crate::scenario::{
    need::{
        CUMULATIVE_ACK, FAIL_SENDS, HOLD_ACKS, PLANT, PLANT_HEADERS, SHARED_MESSAGES, SINGLE_TOPICS,
    },
    table,
};

pub use self::{
    acknowledging::*, attempts::*, closing::*, dead_letters::*, exhaustion::*, flow::*,
    redelivery::*, restarts::*, stopping::*, undecodable::*,
};

table! { "ack":
    ack_survives_a_consumer_restart,
    ack_confirmed_survives_a_consumer_crash,
    ack_all_settles_each,
    cumulative_ack_covers_all_before needs [CUMULATIVE_ACK],
    nack_comes_again,
    nack_not_before_its_delay,
    nack_for_ever_disturbs_nobody,
    attempts_grow,
    unsettled_comes_again_after_ack_wait,
    dropped_comes_again_after_ack_wait,
    ack_wait_starts_when_handed_out,
    extend_keeps_a_delivery,
    settling_after_ack_wait_says_expired,
    settling_after_ack_wait_says_expired_before_it_comes_again,
    settled_never_comes_again,
    max_in_flight_holds_back_the_rest,
    stall_is_visible_in_health,
    stop_ends_the_stream,
    stop_releases_what_was_not_handed_out needs [SHARED_MESSAGES],
    dropped_subscription_releases_what_was_not_handed_out needs [SHARED_MESSAGES],
    handed_out_stays_settleable_after_a_stop,
    close_waits_for_what_is_handed_out,
    close_does_not_wait_for_expired_deliveries,
    close_does_not_wait_for_dropped_deliveries,
    close_gives_up_on_held_deliveries_in_time,
    settling_after_close_says_closed_and_gives_it_back,
    reject_moves_to_the_dead_letters_with_the_reason,
    reject_without_a_dead_letter_topic_is_done,
    cancelled_reject_loses_nothing needs [HOLD_ACKS],
    unavailable_dead_letter_topic_keeps_the_original needs [FAIL_SENDS],
    missing_dead_letter_topic_keeps_the_original needs [SINGLE_TOPICS],
    dead_letter_topic_in_the_own_filter_is_refused,
    largest_envelope_can_become_a_dead_letter,
    nacks_beyond_max_attempts_move_to_the_dead_letters,
    expiries_beyond_max_attempts_move_to_the_dead_letters,
    exhausted_without_a_dead_letter_topic_is_dropped,
    exhausted_head_lets_its_key_go_on,
    shutdown_is_no_reason,
    rolling_restarts_make_no_dead_letters,
    crash_behind_a_stuck_key_duplicates_little,
    undecodable_moves_to_the_dead_letters needs [PLANT],
    undecodable_is_yielded_and_settleable needs [PLANT],
    undecodable_is_yielded_in_spite_of_a_dead_letter_topic needs [PLANT],
    foreign_messages_of_every_kind_are_settleable needs [PLANT],
    foreign_headers_disturb_nobody needs [PLANT_HEADERS],
}
