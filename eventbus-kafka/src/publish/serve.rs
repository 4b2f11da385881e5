//! The thread of the producer.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rdkafka::producer::{Producer as _, PurgeConfig};

use super::{Producer, Shared};

/// How long an idle thread sleeps; librdkafka's log and errors wait for so long.
const IDLE: Duration = Duration::from_millis(250);
/// How long after the last report it sleeps at the earliest: to be woken costs more than to
/// wait inside librdkafka.
const BUSY: Duration = Duration::from_millis(100);
/// How long a poll takes. What is left of the last group of reports waits for so long at most;
/// rdkafka spins through the last millisecond, so it must not be short.
const POLL: Duration = Duration::from_millis(50);
/// How long what is under way gets before a new producer takes over.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves the producer until the end, and then takes it apart: that blocks.
pub(super) fn serve(shared: &Shared) {
    let mut reports = 0;
    let mut last_report = Instant::now();
    loop {
        let Some(producer) = shared.producer() else {
            match shared.end() {
                Some(_) => return,
                None => {
                    renew(shared, None);
                    continue;
                }
            }
        };
        producer.poll(POLL);
        let before = std::mem::replace(&mut reports, producer.context().flush());
        if reports != before {
            last_report = Instant::now();
        }
        if producer.context().is_fatal() {
            renew(shared, Some(producer));
        } else if let Some(deadline) = shared.end() {
            let outstanding = shared.outstanding.load(Ordering::Acquire);
            if outstanding == 0 || Instant::now() >= deadline {
                shared.set_producer(None);
                producer.context().end();
                take_apart(&producer);
                return;
            }
        } else if last_report.elapsed() > BUSY && shared.outstanding.load(Ordering::Acquire) == 0 {
            thread::park_timeout(IDLE);
            if shared.outstanding.load(Ordering::Acquire) > 0 {
                last_report = Instant::now();
            }
        }
    }
}

/// After a fatal error: what is outstanding is reported as ambiguous, then a new producer
/// takes over. Not before, so that nothing of the old one is stored after something newer.
fn renew(shared: &Shared, old: Option<Arc<Producer>>) {
    shared.set_producer(None);
    if let Some(old) = old {
        tracing::warn!(
            reason = shared.trouble.describe(),
            "the producer cannot go on; what it had is reported as ambiguous, a new one is made",
        );
        old.purge(PurgeConfig::default().queue());
        let deadline = Instant::now() + LAST_ANSWERS;
        while old.in_flight_count() > 0 && Instant::now() < deadline {
            old.poll(Duration::from_millis(10));
            old.context().flush();
        }
        take_apart(&old);
    }
    match shared.make_producer() {
        Ok(new) => {
            shared.trouble.clear();
            shared.set_producer(Some(new));
        }
        Err(kafka) => {
            tracing::error!(%kafka, "no new producer can be made; trying again");
            thread::park_timeout(IDLE);
        }
    }
}

/// Takes everything from a producer, to be dropped, so that it gets its verdict.
fn take_apart(producer: &Producer) {
    producer.purge(PurgeConfig::default().queue().inflight());
    let deadline = Instant::now() + LAST_ANSWERS;
    while producer.in_flight_count() > 0 && Instant::now() < deadline {
        producer.poll(Duration::from_millis(5));
        producer.context().flush();
    }
    producer.context().flush();
}
