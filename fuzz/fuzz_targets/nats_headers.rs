//! The headers of a message that the client cannot read, which any client can write.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../eventbus-nats/src/headers.rs"]
#[allow(dead_code)]
mod headers;

fuzz_target!(|bytes: &[u8]| {
    let _ = headers::is_readable(bytes);
    let _ = headers::read(bytes, bytes::Bytes::new(), "key");
});
