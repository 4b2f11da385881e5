//! The decoder of the wire format: what it takes, it writes alike.

#![no_main]

use bytes::Bytes;
use eventbus_core::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::from_bytes(Bytes::copy_from_slice(data)) else { return };
    let encoded = envelope.to_bytes();
    assert_eq!(encoded.len(), envelope.encoded_len());
    let again = Envelope::from_bytes(encoded).expect("it wrote what it does not read");
    assert!(again == envelope);
});
