//! The task that writes the queue of the ring to the connection.

use std::{fmt::Write, sync::Arc, time::Instant};

use async_nats::{Client, PublishError, PublishErrorKind, Subject};
use bytes::BytesMut;
use eventbus_core::{Error, ErrorKind};
use futures_util::FutureExt;

use crate::{
    atomic::AtomicBatch,
    connection::{Link, Links},
    error,
    fast::{Admission, Outcome, SUFFIX, To, Written},
    inbox::Inboxes,
    message::{Kept, MESSAGE_ID, Message, Order, Sent},
    publish::Ring,
};

/// How many messages are taken from the queue at once.
const BATCH: usize = 64;
/// Reply subjects are written one behind the other into chunks of this size.
const REPLY_CHUNK: usize = 8 << 10;
/// A token in hexadecimal, or a sequence, the operation and the suffix of a batch.
const MAX_TOKEN: usize = 32;

/// A message on its way from the queue to the client.
struct Outbound {
    to: To,
    written: Written,
}

pub(crate) struct Writer {
    ring: Arc<Ring>,
    links: Links,
    inboxes: Inboxes,
    reply: BytesMut,
    batch: Vec<Outbound>,
}

impl Writer {
    pub(crate) fn new(ring: Arc<Ring>, links: Links, inboxes: Inboxes) -> Self {
        Self { ring, links, inboxes, reply: BytesMut::new(), batch: Vec::with_capacity(BATCH) }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            let Some(link) = self.next_link().await else { return };
            self.write(&link).await;
            let number = link.number;
            drop(link);
            // The answers that came have been matched once the link is replaced.
            let replaced =
                |link: &Option<Arc<Link>>| link.as_ref().is_none_or(|link| link.number != number);
            if self.links.wait_for(replaced).await.is_err() {
                return;
            }
            self.connection_lost();
        }
    }

    /// Waits for a connection; hands back what cannot wait any longer.
    async fn next_link(&mut self) -> Option<Arc<Link>> {
        let patience = self.ring.ack_timeout / 2;
        let mut give_up = Instant::now() + patience;
        loop {
            let current = self.links.borrow_and_update().clone();
            if current.is_some() {
                return current;
            }
            match tokio::time::timeout_at(give_up.into(), self.links.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    self.ring.hand_back(&error::not_connected());
                    give_up = Instant::now() + patience / 2;
                }
            }
        }
    }

    /// Writes until the link is lost.
    async fn write(&mut self, link: &Link) {
        let prefix = self.inboxes.of(link);
        // A fixed time, which no amount of other work puts off.
        let mut repeat_at = self.repeat_at();
        loop {
            if repeat_at.is_some_and(|at| at <= Instant::now()) {
                self.repeat_overdue();
                repeat_at = self.repeat_at();
            }
            let act_at = self.take(link);
            if self.batch.is_empty() {
                tokio::select! {
                    () = self.ring.wake.notified() => {}
                    changed = self.links.changed() => {
                        if changed.is_err() || self.is_replaced(link) {
                            return;
                        }
                    }
                    () = at(repeat_at) => {}
                    () = at(act_at) => {}
                }
                continue;
            }
            let mut batch = std::mem::take(&mut self.batch);
            let mut outbounds = batch.drain(..);
            while let Some(outbound) = outbounds.next() {
                let Outbound { to, written } = outbound;
                match self.write_one(&link.client, &prefix, &to, written).await {
                    Ok(()) => {}
                    Err(failure) if failure.kind() == PublishErrorKind::MaxPayloadExceeded => {
                        self.too_large(&to, link, &failure);
                    }
                    Err(_) => {
                        self.take_back(outbounds);
                        return;
                    }
                }
            }
            drop(outbounds);
            self.batch = batch;
        }
    }

    /// The rest of a batch was certainly not written.
    fn take_back(&self, outbounds: impl DoubleEndedIterator<Item = Outbound>) {
        let mut state = self.ring.lock();
        for Outbound { to, written } in outbounds.rev() {
            let token = match to {
                To::Ring(token) => token,
                To::Batch { number, sequence, .. } => {
                    state.fast.not_written(number, sequence);
                    continue;
                }
            };
            let Some(sent) = state.sent.remove(token) else { continue };
            let order = sent.kept.map(|kept| kept.order.unwritten());
            state.queue.push_front(Message {
                id: sent.id,
                route: sent.route,
                payload: written.payload,
                message_id: written.message_id,
                headers: written.headers,
                order,
                idempotent: sent.idempotent,
                awaited: written.atomic.is_some(),
                atomic: written.atomic,
                written: None,
            });
        }
    }

    fn is_replaced(&mut self, link: &Link) -> bool {
        let current = self.links.borrow_and_update();
        current.as_ref().is_none_or(|current| current.number != link.number)
    }

    async fn write_one(
        &mut self,
        client: &Client,
        prefix: &str,
        to: &To,
        written: Written,
    ) -> Result<(), PublishError> {
        let Written { subject, payload, message_id, headers, atomic } = written;
        if let Some(batch) = atomic {
            return self.write_atomic(client, prefix, to, &subject, *batch).await;
        }
        let reply = self.reply(prefix, to);
        if message_id.is_some() || headers.is_some() {
            let mut headers = headers.map(|headers| *headers).unwrap_or_default();
            if let Some(id) = message_id {
                headers.insert(MESSAGE_ID, &*id);
            }
            let write = client.publish_with_reply_and_headers(subject, reply, headers, payload);
            return self.patiently(write).await;
        }
        self.patiently(client.publish_with_reply(subject, reply, payload)).await
    }

    /// Writes an atomic batch. Unless its last message is written, nothing of it is stored.
    async fn write_atomic(
        &mut self,
        client: &Client,
        prefix: &str,
        to: &To,
        subject: &Subject,
        batch: AtomicBatch,
    ) -> Result<(), PublishError> {
        for (payload, headers) in batch.messages() {
            // Each with where to answer, because the server says what is wrong with it only there.
            let (subject, reply) = (subject.clone(), self.reply(prefix, to));
            let write = client.publish_with_reply_and_headers(subject, reply, headers, payload);
            self.patiently(write).await?;
        }
        Ok(())
    }

    fn reply(&mut self, prefix: &str, to: &To) -> Subject {
        let prefix = match to {
            To::Ring(_) => prefix,
            To::Batch { reply, .. } => reply,
        };
        if self.reply.capacity() < prefix.len() + MAX_TOKEN {
            self.reply.reserve(REPLY_CHUNK);
        }
        // Writing into a buffer that grows cannot fail.
        let _ = match to {
            To::Ring(token) => write!(self.reply, "{prefix}{token:x}"),
            To::Batch { sequence, operation, .. } => {
                write!(self.reply, "{prefix}{sequence}.{}{SUFFIX}", *operation as u8)
            }
        };
        Subject::from_utf8(self.reply.split().freeze()).unwrap_or(Subject::from_static("_"))
    }

    /// Waits for room in the connection. While there is none, what is queued is not kept
    /// waiting for longer than its publishers would.
    async fn patiently(
        &self,
        write: impl Future<Output = Result<(), PublishError>>,
    ) -> Result<(), PublishError> {
        let mut write = std::pin::pin!(write);
        if let Some(done) = write.as_mut().now_or_never() {
            return done;
        }
        let mut patience = self.ring.ack_timeout / 2;
        loop {
            match tokio::time::timeout(patience, write.as_mut()).await {
                Ok(done) => return done,
                Err(_) => self.ring.hand_back(&error::error(
                    ErrorKind::Unavailable,
                    "the server does not read what is sent to it",
                )),
            }
            patience = self.ring.ack_timeout / 4;
        }
    }

    /// Takes the next messages and registers them as sent. Gives when to look again although
    /// nothing comes.
    fn take(&mut self, link: &Link) -> Option<Instant> {
        let ring = self.ring.clone();
        let mut outcome = Outcome { link: link.number, ..Outcome::default() };
        let mut state = ring.lock();
        let now = Instant::now();
        while self.batch.len() < BATCH {
            let Some(message) = state.queue.pop_front() else { break };
            // With strict order it may have waited so long that its publisher was told.
            if message.order.is_some()
                && message.is_fresh()
                && !ring.verdicts.is_pending(message.id)
            {
                let next = message.order.and_then(|o| o.lane).and_then(|l| state.lanes.next(l));
                state.queue.extend(next);
                continue;
            }
            let behind = state.queue.len();
            match state.fast.admit(message, behind, now) {
                Admission::Ring(message) => self.batch.push(register(&mut state.sent, message)),
                Admission::Held => {}
                Admission::Batch(to, written) => self.batch.push(Outbound { to, written }),
            }
        }
        let queued = !state.queue.is_empty();
        let is_pending = |id| ring.verdicts.is_pending(id);
        for (to, subject) in state.fast.act(now, queued, is_pending, &mut outcome) {
            self.batch.push(Outbound { to, written: Written::empty(subject) });
        }
        state.write_again(&mut outcome, &ring.verdicts);
        ring.clear_timed_out(&mut state);
        state.idle = self.batch.is_empty() && state.queue.is_empty();
        let act_at = if state.queue.is_empty() { state.fast.act_at() } else { Some(now) };
        drop(state);
        ring.follow(outcome);
        act_at
    }

    fn too_large(&self, to: &To, link: &Link, failure: &PublishError) {
        let error = error::error(
            ErrorKind::TooLarge,
            "the message with its headers is larger than the server's `max_payload`",
        )
        .with_context("client:", failure);
        match *to {
            To::Ring(token) => {
                let mut state = self.ring.lock();
                let Some(sent) = state.sent.remove(token) else { return };
                state.release(&sent);
                drop(state);
                self.ring.verdicts.complete(sent.id, Err(error));
            }
            To::Batch { number, sequence, .. } => {
                self.ring.with_fast(link.number, |fast, outcome| {
                    fast.too_large(number, sequence, error, outcome);
                });
            }
        }
    }

    /// What was written and has no answer is reported as not known, or with strict order
    /// written again, the same as before, as long as the stream would recognise it.
    fn connection_lost(&self) {
        let unknown = {
            let mut state = self.ring.lock();
            let (again, unknown): (Vec<_>, Vec<_>) =
                state.sent.take(|_| true).into_iter().partition(is_repeatable);
            for sent in &unknown {
                state.release(sent);
            }
            for message in again.into_iter().filter_map(repetition) {
                state.queue.push_front(message);
            }
            unknown
        };
        if !unknown.is_empty() {
            let envelopes = unknown.len();
            tracing::warn!(envelopes, "it is not known whether these envelopes were stored");
        }
        let lost = |sent: &Sent| (sent.id, Err::<_, Error>(error::connection_lost()));
        self.ring.verdicts.complete_all(unknown.iter().map(lost));
        self.ring.with_fast(0, |fast, outcome| fast.connection_lost(outcome));
    }

    /// When to look for what is to be repeated.
    fn repeat_at(&self) -> Option<Instant> {
        self.ring.strict.then(|| Instant::now() + self.ring.ack_timeout / 2)
    }

    /// Writes again what has had no answer for a whole acknowledgement timeout, because with
    /// strict order it holds up its successors.
    fn repeat_overdue(&self) {
        let overdue = |sent: &Sent| {
            let last = sent.kept.as_ref().and_then(|kept| kept.order.last_sent);
            last.is_some_and(|last| last.elapsed() >= self.ring.ack_timeout)
        };
        let mut state = self.ring.lock();
        let (again, unknown): (Vec<_>, Vec<_>) =
            state.sent.take(overdue).into_iter().partition(is_repeatable);
        for sent in &unknown {
            state.release(sent);
        }
        state.queue.extend(again.into_iter().filter_map(repetition));
        drop(state);
        let lost = |sent: &Sent| (sent.id, Err::<_, Error>(error::connection_lost()));
        self.ring.verdicts.complete_all(unknown.iter().map(lost));
    }
}

/// Resolves at that moment, or never.
pub(crate) async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn register(sent: &mut crate::slab::Slab<Sent>, message: Message) -> Outbound {
    let Message { id, route, payload, message_id, headers, order, idempotent, atomic, .. } =
        message;
    let subject = route.0.subject.clone();
    let kept = order.map(|order| {
        let now = Some(Instant::now());
        let order = Order { first_sent: order.first_sent.or(now), last_sent: now, ..order };
        let (payload, message_id) = (payload.clone(), message_id.clone());
        Box::new(Kept { payload, message_id, headers: headers.clone(), order })
    });
    let batch = atomic.as_ref().map(|batch| batch.len());
    let to = To::Ring(sent.insert(Sent { id, route, kept, idempotent, batch }));
    Outbound { to, written: Written { subject, payload, message_id, headers, atomic } }
}

/// Whether the stream would still recognise a repetition.
fn is_repeatable(sent: &Sent) -> bool {
    let first = sent.kept.as_ref().and_then(|kept| kept.order.first_sent);
    first.is_some_and(|first| sent.route.recognises(first))
}

fn repetition(sent: Sent) -> Option<Message> {
    let kept = sent.kept?;
    Some(Message {
        id: sent.id,
        route: sent.route,
        payload: kept.payload,
        message_id: kept.message_id,
        headers: kept.headers,
        order: Some(kept.order),
        idempotent: sent.idempotent,
        awaited: false,
        atomic: None,
        written: None,
    })
}
