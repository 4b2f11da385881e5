//! Settlements.

use std::{
    fmt,
    time::{Duration, Instant},
};

use async_nats::{Request, Subject};
use bytes::Bytes;
use eventbus_core::{
    Error, ErrorKind,
    backend::{Settlement, Settler, Settling, Token},
};
use futures_util::FutureExt;

use crate::{
    connection::Links,
    desk::{ACK, Desk, Held, IN_PROGRESS, State, Status, nack},
    error,
};

const TERM: &[u8] = b"+TERM";

impl Settler for Desk {
    fn settle(&self, token: Token, settlement: Settlement) -> Settling {
        let mut state = self.lock();
        let now = Instant::now();
        let expires = match state.messages.get_mut(token.0).map(|held| held.status) {
            Some(Status::Out { expires, .. }) if expires > now => expires,
            _ => return Settling::Done(Err(expired())),
        };
        match settlement {
            Settlement::Ack => {
                let Some(held) = self.finish(&mut state, token) else { return done() };
                drop(state);
                self.say(held.reply, Bytes::from_static(ACK), expires)
            }
            Settlement::Discard => {
                let Some(held) = self.finish(&mut state, token) else { return done() };
                drop(state);
                self.say(held.reply, Bytes::from_static(TERM), expires)
            }
            Settlement::Nack(delay) => self.nack(state, token, delay, expires),
            Settlement::Extend => {
                let Some(held) = state.messages.get_mut(token.0) else { return done() };
                held.touched = now;
                held.status = Status::Out { expires: now + self.ack_wait, abandoned: false };
                let reply = held.reply.clone();
                drop(state);
                self.say(reply, Bytes::from_static(IN_PROGRESS), expires)
            }
            Settlement::AckConfirmed => {
                let reply = state.messages.get_mut(token.0).map(|held| held.reply.clone());
                drop(state);
                reply.map_or_else(done, |reply| self.confirm(token, reply, expires))
            }
            _ => Settling::Done(Err(error::error(
                ErrorKind::Unsupported,
                "this settlement is not known to the NATS backend",
            ))),
        }
    }

    fn abandon(&self, token: Token) {
        let mut state = self.lock();
        let stopped = state.stopped;
        let Some(held) = state.messages.get_mut(token.0) else { return };
        if let Status::Out { abandoned, .. } = &mut held.status {
            *abandoned = true;
            if stopped {
                // Nobody waits for it here any more.
                state.messages.remove(token.0);
                state.out -= 1;
                drop(state);
                self.task.notify_one();
            }
        }
    }
}

impl Desk {
    /// Takes a message away for good.
    fn finish(&self, state: &mut State, token: Token) -> Option<Held> {
        let held = state.messages.remove(token.0)?;
        if held.is_out() {
            state.out -= 1;
        }
        if self.cumulative {
            let (consumer, upto) = (held.consumer, held.sequence);
            let covered = state.messages.take(|other| {
                other.is_out() && other.consumer == consumer && other.sequence < upto
            });
            state.out -= covered.len();
        }
        if state.next_of(held.key) {
            self.wake_reader();
        }
        self.freed(state);
        if state.stopped && state.out == 0 {
            self.task.notify_one();
        }
        Some(held)
    }

    fn nack(
        &self,
        mut state: std::sync::MutexGuard<'_, State>,
        token: Token,
        delay: Duration,
        expires: Instant,
    ) -> Settling {
        let Some(held) = state.messages.remove(token.0) else { return done() };
        state.out -= 1;
        if self.stays_here(&held) && !state.stopped {
            let attempt = held.attempt.saturating_add(1);
            let held = Held { attempt, expired_before: false, ..held };
            if delay.is_zero() {
                state.again(held);
                drop(state);
                self.wake_reader();
            } else {
                state.delay(held, Instant::now() + delay);
                self.task.notify_one();
            }
            return done();
        }
        state.owed.insert((held.consumer, held.sequence), false);
        state.next_of(held.key);
        self.freed(&mut state);
        drop(state);
        self.say(held.reply, nack(delay), expires)
    }

    /// Publishes a word about a message: at once if possible, else when there is room or a
    /// connection again.
    fn say(&self, reply: Subject, word: Bytes, expires: Instant) -> Settling {
        if let Some(link) = self.connection.link()
            && let Some(Ok(())) = link.client.publish(reply.clone(), word.clone()).now_or_never()
        {
            return done();
        }
        let links = self.connection.links();
        Settling::Waiting(Box::pin(say_later(links, reply, word, expires)))
    }

    fn confirm(&self, token: Token, reply: Subject, expires: Instant) -> Settling {
        let Some(link) = self.connection.link() else {
            return Settling::Done(Err(error::not_connected()));
        };
        let Some(desk) = self.me.upgrade() else { return Settling::Done(Err(error::closed())) };
        Settling::Waiting(Box::pin(async move {
            let patience = expires.saturating_duration_since(Instant::now());
            let request = Request::new().payload(Bytes::from_static(ACK)).timeout(Some(patience));
            let mut violations = desk.connection.violations();
            let answer = tokio::select! {
                answer = link.client.send_request(reply.clone(), request) => answer,
                violation = desk.connection.denied(&mut violations, &reply) => {
                    return Err(violation.into_error());
                }
            };
            answer.map_err(|failure| {
                error::error(
                    ErrorKind::Unavailable,
                    "the server did not confirm the acknowledgement",
                )
                .ambiguous()
                .with_context("client:", failure)
            })?;
            let mut state = desk.lock();
            desk.finish(&mut state, token);
            Ok(())
        }))
    }
}

async fn say_later(
    mut links: Links,
    reply: Subject,
    word: Bytes,
    expires: Instant,
) -> Result<(), Error> {
    let said = async {
        loop {
            let Ok(link) = links.wait_for(Option::is_some).await.map(|link| link.clone()) else {
                return Err(error::closed());
            };
            let Some(link) = link else { continue };
            if link.client.publish(reply.clone(), word.clone()).await.is_ok() {
                return Ok(());
            }
            // This connection is lost; the next one will do.
            if links.changed().await.is_err() {
                return Err(error::closed());
            }
        }
    };
    tokio::time::timeout_at(expires.into(), said)
        .await
        .unwrap_or_else(|_| Err(error::not_connected()))
}

fn done() -> Settling {
    Settling::Done(Ok(()))
}

fn expired() -> Error {
    error::error(
        ErrorKind::Expired,
        "the delivery was settled already, or its `ack_wait` is over and it belongs to another \
         attempt; work faster, extend it, or subscribe with a longer `ack_wait`",
    )
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
