//! The steps that scenarios are told in.

mod dead_letters;
mod events;
mod failures;
mod member;
mod order;
mod publishing;
mod reading;
mod settling;

pub(crate) use dead_letters::{assert_letter, no_dead_letters};
pub(crate) use events::{event, key_of, keyed, number, numbers};
pub(crate) use failures::Failures;
pub(crate) use member::Member;
pub(crate) use order::{assert_ascending, assert_each_key_ascending};
pub(crate) use publishing::{
    health_becomes, publish_all, publish_numbers, publish_until_stored, ready_topic,
};
pub(crate) use reading::{
    next, next_item, nothing_for, read_all, take, take_numbers, take_until, to_end, while_polling,
};
pub(crate) use settling::{ack_all_of, settle};
