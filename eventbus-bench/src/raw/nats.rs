//! `async-nats`, used directly.

use std::{
    collections::VecDeque,
    future::IntoFuture,
    time::{Duration, Instant},
};

use async_nats::{
    Client,
    jetstream::{
        self, ErrorCode,
        consumer::{AckPolicy, pull},
        context::{DeleteStreamError, DeleteStreamErrorKind, PublishAckFuture},
    },
};
use bytes::Bytes;
use eventbus_core::{Error, ErrorKind};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::meter::{Meter, left_over};
use crate::{
    Load, Mode,
    latency::Latencies,
    measure::{Job, Place, Sample},
    process::Usage,
    stamp::{encoded, topic_of},
};

/// Of the acknowledgements of mode `async`, so many are timed per measurement.
const SAMPLES: u64 = 1000;

/// A connection of its own with the client's defaults, but for how many acknowledgements may
/// be outstanding.
pub(crate) struct Raw {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    subjects: Vec<String>,
    keys: u64,
    payload: Bytes,
}

impl Raw {
    pub(crate) async fn connect(job: &Job, place: &Place) -> Result<Self, Error> {
        let client = client(place).await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .max_ack_inflight(job.window)
            .timeout(Duration::from_secs(30))
            .build(client.clone());
        let payload = encoded(&job.load);
        let keys = u64::from(job.load.keys);
        let subjects = place.topics.iter().map(|topic| place.subject(topic)).collect();
        Ok(Self { client, jetstream, subjects, keys, payload })
    }

    /// Sends message `n`; the future is its acknowledgement.
    pub(crate) async fn publish(&self, n: u64) -> Result<PublishAckFuture, Error> {
        let subject = &self.subjects[topic_of(n, self.keys, self.subjects.len() as u64)];
        // The client takes the payload, so each message has its own, as with the bus.
        let payload = Bytes::copy_from_slice(&self.payload);
        let publishing = self.jetstream.publish(subject.clone(), payload);
        publishing.await.map_err(failed("publish"))
    }
}

pub(crate) async fn measure(job: &Job, place: &Place) -> Result<Sample, Error> {
    let before = Usage::now().tasks;
    let raw = Raw::connect(job, place).await?;
    let sample = match job.load.mode {
        Mode::Async => pipelined(&raw, &job.load, job.window, before).await,
        Mode::Batch => in_batches(&raw, &job.load, before).await,
        Mode::Sync => synchronously(&raw, &job.load, before).await,
        Mode::Consume => consume(&raw, job, place, before).await,
    };
    end(raw, sample, before).await
}

/// Closes the connection and counts what is left.
pub(crate) async fn end(
    raw: Raw,
    sample: Result<Sample, Error>,
    before: usize,
) -> Result<Sample, Error> {
    let _ = raw.client.drain().await;
    drop(raw);
    let left = left_over(before).await;
    sample.map(|sample| Sample { leaked_tasks: Some(left), ..sample })
}

/// Acknowledgements are awaited in order by one task, `window` of them at most.
pub(crate) async fn pipelined(
    raw: &Raw,
    load: &Load,
    window: usize,
    before: usize,
) -> Result<Sample, Error> {
    let (sent, acks) = mpsc::channel(window);
    let meter = Meter::start(before)?;
    let collector = tokio::spawn(collect(acks, load.messages));
    for n in 0..load.messages {
        let started = Instant::now();
        let ack = raw.publish(n).await?;
        if sent.send((started, ack)).await.is_err() {
            break;
        }
    }
    drop(sent);
    let (acked, latencies) = collector.await.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the ack task died").with_source(error)
    })?;
    Ok(meter.stop(acked, load.messages - acked, &latencies))
}

async fn collect(
    mut acks: mpsc::Receiver<(Instant, PublishAckFuture)>,
    messages: u64,
) -> (u64, Latencies) {
    let every = (messages / SAMPLES).max(1);
    let (mut acked, mut latencies) = (0_u64, Latencies::new());
    while let Some((started, ack)) = acks.recv().await {
        if ack.await.is_ok() {
            acked += 1;
            if acked.is_multiple_of(every) {
                latencies.record_now(started.elapsed());
            }
        }
    }
    (acked, latencies)
}

/// Sends `batch_size` messages, waits for all of them, and so on.
pub(crate) async fn in_batches(raw: &Raw, load: &Load, before: usize) -> Result<Sample, Error> {
    let meter = Meter::start(before)?;
    let (mut acked, mut latencies) = (0, Latencies::new());
    let mut left = load.messages;
    let mut acks = VecDeque::with_capacity(load.batch_size);
    while left > 0 {
        let count = left.min(load.batch_size as u64);
        let started = Instant::now();
        for n in 0..count {
            acks.push_back(raw.publish(n).await?);
        }
        for ack in acks.drain(..) {
            acked += u64::from(ack.await.is_ok());
        }
        latencies.record_now(started.elapsed());
        left -= count;
    }
    Ok(meter.stop(acked, load.messages - acked, &latencies))
}

pub(crate) async fn synchronously(raw: &Raw, load: &Load, before: usize) -> Result<Sample, Error> {
    let meter = Meter::start(before)?;
    let (mut acked, mut latencies) = (0, Latencies::new());
    for n in 0..load.messages {
        let started = Instant::now();
        if raw.publish(n).await?.await.is_ok() {
            acked += 1;
            latencies.record_now(started.elapsed());
        }
    }
    Ok(meter.stop(acked, load.messages - acked, &latencies))
}

async fn consume(raw: &Raw, job: &Job, place: &Place, before: usize) -> Result<Sample, Error> {
    pipelined(raw, &job.load, job.window, before).await?;
    let config = pull::Config {
        durable_name: Some("raw".to_owned()),
        ack_policy: AckPolicy::Explicit,
        filter_subject: place.subject(&place.filter),
        max_ack_pending: i64::try_from(job.window).unwrap_or(i64::MAX),
        ..pull::Config::default()
    };
    let consumer = raw
        .jetstream
        .create_consumer_on_stream(config, &place.name)
        .await
        .map_err(failed("create a consumer"))?;
    let meter = Meter::start(before)?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(job.window)
        .messages()
        .await
        .map_err(failed("consume"))?;
    let (mut acked, mut latencies) = (0, Latencies::new());
    while acked < job.load.messages {
        let message = messages.next().await.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the consumer ended before all messages came")
        })?;
        let message = message.map_err(failed("receive"))?;
        let started = Instant::now();
        message.ack().await.map_err(|source| {
            Error::new(ErrorKind::Unexpected, "an acknowledgement was not sent")
                .with_source(std::io::Error::other(source))
        })?;
        acked += 1;
        if acked.is_multiple_of(16) {
            latencies.record(started.elapsed());
        }
    }
    Ok(meter.stop(acked, 0, &latencies))
}

/// Removes the stream of a place.
pub(crate) async fn delete_stream(place: &Place) -> Result<(), Error> {
    let client = client(place).await?;
    let jetstream = jetstream::new(client.clone());
    let deleted = jetstream.delete_stream(&place.name).await;
    let _ = client.drain().await;
    match deleted {
        Err(error) if !is_missing(&error) => Err(failed("delete the stream")(error)),
        _ => Ok(()),
    }
}

fn is_missing(error: &DeleteStreamError) -> bool {
    let DeleteStreamErrorKind::JetStream(error) = error.kind() else { return false };
    error.error_code() == ErrorCode::STREAM_NOT_FOUND
}

/// The version of the server.
///
/// # Errors
/// `Unavailable` when it cannot be reached.
pub(crate) async fn server_version(servers: &str) -> Result<String, Error> {
    Ok(connect(servers).await?.server_info().version)
}

async fn client(place: &Place) -> Result<Client, Error> {
    connect(&place.servers).await
}

async fn connect(servers: &str) -> Result<Client, Error> {
    let servers: Vec<String> =
        servers.split(',').map(|server| format!("nats://{server}")).collect();
    async_nats::connect(servers).into_future().await.map_err(|source| {
        Error::new(
            ErrorKind::Unavailable,
            "the raw client cannot connect; it knows only servers, users and passwords of the URL",
        )
        .with_source(source)
    })
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> Error {
    move |source| {
        Error::new(ErrorKind::Unexpected, "the raw client failed")
            .with_operation(what)
            .with_source(source)
    }
}
