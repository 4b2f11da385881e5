//! The task that keeps the connection and matches the broker's answers.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use async_nats::{Message, StatusCode, Subscriber};
use eventbus_core::{Error, ErrorKind, backend::Stored};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::{
    connection::{Connection, Link},
    error::{self, Refusal, STREAM_NOT_FOUND, Violation},
    fast::{self, Word},
    inbox::Inboxes,
    message::Sent,
    provision::Streams,
    publish::{Answer, Ring},
};

type Probe = Pin<Box<dyn Future<Output = (usize, Error)> + Send>>;

/// A publish acknowledgement.
#[derive(Deserialize)]
struct PubAck {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    /// Of an atomic batch.
    #[serde(default)]
    count: u32,
    #[serde(default)]
    error: Option<Refusal>,
}

pub(crate) struct Matcher {
    connection: Arc<Connection>,
    ring: Arc<Ring>,
    streams: Arc<Streams>,
    inboxes: Inboxes,
    violations: broadcast::Receiver<Violation>,
    /// The most answers that are matched in one go.
    batch: usize,
    /// What nobody took, by stream, until it is known why.
    unanswerable: HashMap<usize, Vec<Sent>>,
    probes: FuturesUnordered<Probe>,
}

impl Matcher {
    pub(crate) fn new(
        connection: Arc<Connection>,
        ring: Arc<Ring>,
        streams: Arc<Streams>,
        inboxes: Inboxes,
        batch: usize,
    ) -> Self {
        let violations = connection.violations();
        Self {
            connection,
            ring,
            streams,
            inboxes,
            violations,
            batch,
            unanswerable: HashMap::new(),
            probes: FuturesUnordered::new(),
        }
    }

    /// Prepares a link for answers.
    pub(crate) async fn listen(inboxes: &Inboxes, link: &Link) -> Result<Subscriber, Error> {
        link.client
            .subscribe(inboxes.all())
            .await
            .map_err(|failure| error::not_connected().with_context("client:", failure))
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self, first: Arc<Link>, answers: Subscriber) {
        self.match_answers(&first, answers).await;
        drop(first);
        loop {
            self.connection.set_link(None);
            tracing::warn!("the connection was lost");
            let link = self.connection.reopen().await;
            if let Ok(answers) = Self::listen(&self.inboxes, &link).await {
                let link = Arc::new(link);
                self.connection.set_link(Some(link.clone()));
                self.match_answers(&link, answers).await;
            }
        }
    }

    /// Matches answers until the connection is lost.
    async fn match_answers(&mut self, link: &Link, answers: Subscriber) {
        let prefix = self.inboxes.of(link);
        let batches = self.inboxes.of_batches();
        let mut chunks = answers.ready_chunks(self.batch);
        let mut parsed = Vec::with_capacity(self.batch);
        let (mut unanswerable, mut doubtful) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                biased;
                chunk = chunks.next() => {
                    let Some(chunk) = chunk else { return };
                    for message in &chunk {
                        if let Some(answer) = parse(message, &prefix) {
                            parsed.push(answer);
                        } else if let Some((number, sequence, word)) = of_batch(message, &batches) {
                            self.hear(link.number, number, sequence, word);
                        }
                    }
                    if !parsed.is_empty() {
                        self.ring.answer(&mut parsed, link.number, &mut unanswerable, &mut doubtful);
                    }
                    self.find_out(unanswerable.drain(..), doubtful.drain(..));
                }
                Ok(violation) = self.violations.recv() => {
                    if violation.publish {
                        let subject = violation.subject.clone();
                        self.ring.deny(&subject, link.number, &violation.into_error());
                    }
                }
                Some((stream, error)) = self.probes.next(), if !self.probes.is_empty() => {
                    self.found_out(stream, &error);
                }
            }
        }
    }

    /// An answer to the message `sequence` of a batch.
    fn hear(&mut self, link: u64, number: u64, sequence: u64, word: Word) {
        let outcome =
            self.ring.with_fast(link, |fast, outcome| fast.hear(number, sequence, word, outcome));
        self.find_out(outcome.unanswerable, outcome.doubtful);
    }

    /// Nobody took these, or what is for these streams: because the stream is gone, or because it
    /// cannot for a while?
    fn find_out(
        &mut self,
        unanswerable: impl IntoIterator<Item = Sent>,
        doubtful: impl IntoIterator<Item = usize>,
    ) {
        for sent in unanswerable {
            self.waiting(sent.route.0.stream).push(sent);
        }
        for stream in doubtful {
            self.waiting(stream);
        }
    }

    /// Asks for a stream, if it is not being asked for. Gives what waits for the answer.
    fn waiting(&mut self, stream: usize) -> &mut Vec<Sent> {
        self.unanswerable.entry(stream).or_insert_with(|| {
            self.probes.push(probe(self.streams.clone(), stream));
            Vec::new()
        })
    }

    fn found_out(&mut self, stream: usize, error: &Error) {
        let waiting = self.unanswerable.remove(&stream).unwrap_or_default();
        self.ring.report(waiting.iter().map(|sent| (sent.id, Err(error.clone()))).collect());
        if error.kind() == ErrorKind::TopicNotFound {
            self.ring.give_up_repetitions(stream, error);
            self.ring.with_fast(0, |fast, outcome| fast.stream_is_gone(stream, outcome));
        }
    }
}

fn probe(streams: Arc<Streams>, stream: usize) -> Probe {
    Box::pin(async move {
        match streams.info(stream).await {
            Err(failure) if failure.is(STREAM_NOT_FOUND) => {
                streams.forget(stream).await;
                (stream, failure.into())
            }
            _ => (stream, error::no_responders()),
        }
    })
}

/// An answer about a batch: its number, the sequence of the message, and what is said.
fn of_batch(message: &Message, prefix: &str) -> Option<(u64, u64, Word)> {
    let (number, sequence) = fast::address(message.subject.strip_prefix(prefix)?)?;
    Some((number, sequence, Word::parse(message)?))
}

fn parse(message: &Message, prefix: &str) -> Option<(u64, Answer)> {
    let token = u64::from_str_radix(message.subject.strip_prefix(prefix)?, 16).ok()?;
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Some((token, Answer::NoResponders));
    }
    if message.payload.is_empty() {
        return Some((token, Answer::Staged));
    }
    let answer = match serde_json::from_slice::<PubAck>(&message.payload) {
        Ok(PubAck { error: Some(refusal), .. }) => Answer::Refused(refusal.into_error()),
        Ok(PubAck { seq, count: count @ 1.., .. }) if seq >= u64::from(count) => {
            Answer::Committed(seq, count)
        }
        Ok(ack) if ack.seq > 0 => {
            let stored = Stored::at(0, Some(ack.seq));
            Answer::Stored(if ack.duplicate { stored.duplicate() } else { stored })
        }
        _ => Answer::Refused(error::unreadable_ack()),
    };
    Some((token, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(subject: &str, payload: &[u8]) -> Option<(u64, Answer)> {
        let message = Message {
            subject: subject.into(),
            reply: None,
            payload: payload.to_vec().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        parse(&message, "_I.")
    }

    proptest! {
        /// Whatever stands there, it is no success unless it says so, and no certain failure
        /// unless it is one.
        #[test]
        fn any_answer_is_survived(payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            r#"\{"(seq|error|duplicate|stream|count)": ?[-0-9a-z{}"]{0,12}\}"#.prop_map(String::into_bytes),
        ]) {
            match answer("_I.1f", &payload) {
                Some((0x1f, Answer::Refused(error))) => {
                    let refused = serde_json::from_slice::<PubAck>(&payload);
                    let refused = refused.is_ok_and(|ack| ack.error.is_some());
                    prop_assert!(refused || error.is_ambiguous(), "{}", error);
                }
                Some((0x1f, Answer::Staged)) => prop_assert!(payload.is_empty()),
                Some((0x1f, Answer::Stored(_) | Answer::Committed(..))) => {
                    prop_assert!(payload.windows(5).any(|part| part == b"\"seq\""));
                }
                other => prop_assert!(false, "{} is no answer", other.is_some()),
            }
        }

        #[test]
        fn any_subject_is_survived(subject in ".{0,40}") {
            let _ = answer(&subject, b"{}");
        }
    }
}
