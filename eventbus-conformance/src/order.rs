//! The order of a key: when publishing, when retrying, when delivering.

mod members;
mod per_key;
mod publishing;
mod reconnecting;
mod retrying;

use crate::scenario::{
    need::{
        DURABLE, ENGINE_RETRY, FAIL_SENDS, ORDERED_ACROSS_RECONNECT, PER_KEY_ACROSS_GROUP, RESTART,
    },
    table,
};

pub use self::{members::*, per_key::*, publishing::*, reconnecting::*, retrying::*};

table! { "order":
    one_key_published_asynchronously,
    one_key_published_synchronously,
    one_key_published_in_batches,
    one_key_tried,
    modes_interleaved,
    thousand_keys_of_sixty_four,
    failure_makes_a_gap_and_no_inversion needs [FAIL_SENDS],
    retry_keeps_the_order_of_a_key needs [ENGINE_RETRY, FAIL_SENDS],
    retry_under_load_keeps_the_order needs [ENGINE_RETRY, FAIL_SENDS],
    retry_holds_up_no_other_key needs [ENGINE_RETRY, FAIL_SENDS],
    retry_that_gives_up_takes_its_successors_along needs [ENGINE_RETRY, FAIL_SENDS],
    per_key_hands_out_one_at_a_time,
    per_key_lets_other_keys_and_none_pass,
    per_key_waits_for_a_nacked_one,
    per_key_waits_for_an_expired_one,
    per_key_waits_for_a_dropped_one,
    per_key_nacked_comes_again_without_delay,
    per_key_under_nacks_and_load,
    per_key_survives_a_change_of_member needs [PER_KEY_ACROSS_GROUP],
    per_key_holds_while_members_join_and_leave needs [PER_KEY_ACROSS_GROUP],
    order_survives_a_broker_restart needs [RESTART, DURABLE, ORDERED_ACROSS_RECONNECT],
    per_key_survives_a_broker_restart needs [RESTART, DURABLE],
}
