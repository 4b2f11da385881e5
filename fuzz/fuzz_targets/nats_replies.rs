//! The reply subject of a message as a consumer delivers it, which any client can imitate.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../eventbus-nats/src/delivered.rs"]
#[allow(dead_code)]
mod delivered;

fuzz_target!(|reply: &str| {
    let message = async_nats::Message {
        subject: "s".into(),
        reply: Some(reply.into()),
        payload: bytes::Bytes::new(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    };
    let _ = delivered::Origin::of(&message);
});
