//! What the cluster knows about one topic. rdkafka can only ask by name in a way that creates the
//! topic on brokers with `auto.create.topics.enable`, or for all topics, which costs librdkafka the
//! square of their number.
#![allow(unsafe_code)] // rdkafka does not have this call of librdkafka.

use std::{
    ffi::{CString, c_int},
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

use eventbus_core::Topic;
use rdkafka::{bindings::*, error::RDKafkaErrorCode as Code, producer::Producer as _};

use crate::{provision::Known, publish::Producer};

/// How much longer than librdkafka the answer is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// The topic, or `None` if it does not exist; blocks until there is an answer or `within` is
/// over. Never creates it.
pub(crate) fn describe(
    producer: &Producer,
    topic: &Topic,
    within: Duration,
) -> Result<Option<Known>, Code> {
    let client = producer.client().native_ptr();
    let name = CString::new(topic.as_str()).map_err(|_| Code::InvalidArgument)?;
    // SAFETY: the client lives as long as `producer`; names are copied; each object is destroyed
    // once, by its owner.
    let (names, options, queue) = unsafe {
        let names = rd_kafka_TopicCollection_of_topic_names(&mut name.as_ptr(), 1);
        let kind = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = rd_kafka_AdminOptions_new(client, kind);
        (
            Owned::new(names, rd_kafka_TopicCollection_destroy)?,
            Owned::new(options, rd_kafka_AdminOptions_destroy)?,
            Owned::new(rd_kafka_queue_new(client), rd_kafka_queue_destroy)?,
        )
    };
    // SAFETY: all are valid; librdkafka keeps its own references while the request is under way.
    let event = unsafe {
        let none = ptr::null_mut();
        rd_kafka_AdminOptions_set_request_timeout(options.get(), millis(within).max(1), none, 0);
        rd_kafka_DescribeTopics(client, names.get(), options.get(), queue.get());
        rd_kafka_queue_poll(queue.get(), millis(within + GRACE))
    };
    let event = Owned::new(event, rd_kafka_event_destroy).map_err(|_| Code::OperationTimedOut)?;
    // SAFETY: the queue gets no other events than the answer, and what is read belongs to it.
    unsafe { read(event.get(), topic) }
}

/// # Safety
/// `event` is the answer to `rd_kafka_DescribeTopics`.
unsafe fn read(event: *mut rd_kafka_event_t, topic: &Topic) -> Result<Option<Known>, Code> {
    // SAFETY: the caller promises it; arrays have the length that comes with them, and none is
    // looked at if there is none.
    unsafe {
        check(rd_kafka_event_error(event))?;
        let mut count = 0;
        let result = rd_kafka_event_DescribeTopics_result(event);
        let topics = rd_kafka_DescribeTopics_result_topics(result, &mut count);
        let Some(&description) = array(topics, count).first() else { return Ok(None) };
        match check(rd_kafka_error_code(rd_kafka_TopicDescription_error(description))) {
            Err(Code::UnknownTopic | Code::UnknownTopicOrPartition) => return Ok(None),
            // It exists, and is not ready.
            Err(Code::LeaderNotAvailable) | Ok(()) => {}
            Err(code) => return Err(code),
        }
        let partitions = rd_kafka_TopicDescription_partitions(description, &mut count);
        let partitions = array(partitions, count);
        let led = |partition: &*const _| !rd_kafka_TopicPartitionInfo_leader(*partition).is_null();
        Ok(Some(Known {
            name: topic.as_str().to_owned(),
            complete: !partitions.is_empty() && partitions.iter().all(led),
            partitions: partitions
                .iter()
                .map(|partition| rd_kafka_TopicPartitionInfo_partition(*partition))
                .collect(),
        }))
    }
}

fn check(code: rd_kafka_resp_err_t) -> Result<(), Code> {
    match code {
        rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// # Safety
/// `first` begins an array of `count` elements, or is null.
unsafe fn array<'a, T>(first: *mut T, count: usize) -> &'a [T] {
    match first.is_null() {
        true => &[],
        // SAFETY: the caller promises it.
        false => unsafe { slice::from_raw_parts(first, count) },
    }
}

fn millis(duration: Duration) -> c_int {
    c_int::try_from(duration.as_millis()).unwrap_or(c_int::MAX)
}

/// An object of librdkafka that is destroyed when it is dropped.
struct Owned<T> {
    object: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, Code> {
        let object = NonNull::new(object).ok_or(Code::Fail)?;
        Ok(Self { object, destroy })
    }

    const fn get(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is not used any more.
        unsafe { (self.destroy)(self.get()) }
    }
}
