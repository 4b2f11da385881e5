//! The metadata of a commit on Kafka, which any member of a group can write.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../eventbus-kafka/src/consumer/offsets.rs"]
#[allow(dead_code)]
mod offsets;

fuzz_target!(|input: (&str, u32, Vec<u8>)| {
    let (free, committed, bytes) = input;
    let _ = offsets::Progress::decode(free, i64::from(committed));
    let ours = format!("eb1.{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
    let _ = offsets::Progress::decode(&ours, i64::from(committed));
});
