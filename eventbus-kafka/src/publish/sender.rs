//! Sending by the handle of a topic. By name, as rdkafka sends, librdkafka looks through the
//! list of all topics for every message.
#![allow(unsafe_code)] // rdkafka keeps the handles to itself.

use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    ptr,
    sync::{Arc, PoisonError, RwLock},
};

use eventbus_core::Topic;
use rdkafka::{
    bindings::{
        RD_KAFKA_MSG_F_COPY, rd_kafka_last_error, rd_kafka_produce, rd_kafka_topic_destroy,
        rd_kafka_topic_new, rd_kafka_topic_t,
    },
    error::KafkaError,
    producer::Producer as _,
};

use super::Producer;

/// Not chosen: by the hash of the key, as configured.
const ANY_PARTITION: i32 = -1;

/// A producer and the topics that were sent to.
pub(super) struct Sender {
    // Dropped first: they belong to the producer.
    topics: RwLock<HashMap<Topic, Handle, foldhash::fast::RandomState>>,
    pub(super) producer: Arc<Producer>,
}

impl Sender {
    pub(super) fn new(producer: Arc<Producer>) -> Self {
        Self { topics: RwLock::default(), producer }
    }

    /// Hands one message over, which is copied. Its report comes with `opaque`, unless this
    /// fails.
    pub(super) fn send(
        &self,
        topic: &Topic,
        key: Option<&str>,
        payload: &[u8],
        opaque: usize,
    ) -> Result<(), KafkaError> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = known.get(topic) {
            return handle.send(key, payload, opaque);
        }
        drop(known);
        let new = Handle::new(&self.producer, topic)?;
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.clone()).or_insert(new).send(key, payload, opaque)
    }
}

/// A topic of a producer.
struct Handle(ptr::NonNull<rd_kafka_topic_t>);

// SAFETY: librdkafka counts the references to a topic and locks it; any thread may use it.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    fn new(producer: &Producer, topic: &Topic) -> Result<Self, KafkaError> {
        let name = CString::new(topic.as_str())?;
        let client = producer.client().native_ptr();
        // SAFETY: both pointers are valid for the call; without a configuration the client's
        // is taken.
        let handle = unsafe { rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        ptr::NonNull::new(handle).map(Self).ok_or_else(last_error)
    }

    fn send(&self, key: Option<&str>, payload: &[u8], opaque: usize) -> Result<(), KafkaError> {
        let (key, key_len) = key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        // SAFETY: the handle is valid until it is dropped, before its producer; librdkafka
        // copies payload and key before it returns, and does not look at the opaque.
        let failed = unsafe {
            rd_kafka_produce(
                self.0.as_ptr(),
                ANY_PARTITION,
                RD_KAFKA_MSG_F_COPY,
                payload.as_ptr() as *mut c_void,
                payload.len(),
                key.cast(),
                key_len,
                opaque as *mut c_void,
            )
        };
        if failed == 0 { Ok(()) } else { Err(last_error()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the reference that `rd_kafka_topic_new` has given is given back once.
        unsafe { rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// Why the last call of this thread failed.
fn last_error() -> KafkaError {
    // SAFETY: it reads a variable of this thread.
    KafkaError::MessageProduction(unsafe { rd_kafka_last_error() }.into())
}
