//! Who gets what, and from where on.

mod options;
mod partitions;
mod positions;
mod readers;
mod retention;
mod sharing;
mod starts;
mod wildcards;

use crate::scenario::{
    need::{DURABLE, GROUP_OPTIONS_CHECKED, PARTITIONS, PAUSE, RESTART, RETENTION, START_AT_TIME},
    table,
};

pub use self::{
    options::*, partitions::*, positions::*, readers::*, retention::*, sharing::*, starts::*,
    wildcards::*,
};

table! { "groups":
    two_groups_each_get_all,
    competing_members_share,
    late_joiner_takes_part,
    leaving_member_gives_its_share_back,
    same_group_with_two_filters_is_two,
    other_options_on_an_existing_group_are_refused needs [GROUP_OPTIONS_CHECKED],
    bad_group_names_are_refused,
    bad_options_are_refused,
    readers_without_a_group_each_get_all,
    readers_leave_no_position,
    readers_get_unsettled_ones_again,
    reader_survives_a_broker_restart needs [RESTART, DURABLE],
    reader_survives_a_long_pause needs [PAUSE],
    group_starts_at_the_earliest,
    reader_starts_at_the_latest,
    group_may_start_at_the_latest,
    reader_may_start_at_the_earliest,
    start_counts_only_without_a_position,
    published_right_after_subscribing_is_delivered,
    start_at_a_position,
    start_at_a_position_not_reached_yet,
    start_at_a_foreign_position_is_refused,
    start_at_a_time needs [START_AT_TIME],
    wildcards_match_whole_segments,
    topic_created_after_the_subscription_is_read_from_its_start,
    retention_overtakes_a_reader needs [RETENTION],
    retention_overtakes_a_redelivery needs [RETENTION],
    partitions_added_later_are_read needs [PARTITIONS],
}
