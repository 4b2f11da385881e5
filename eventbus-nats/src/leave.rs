//! How the task of a source ends.

use std::{pin::pin, time::Duration};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::stream::{ReadyChunks, StreamExt};

use crate::{
    connection::Link,
    delivered::Origin,
    feed::Feed,
    pull::Puller,
    words::{Words, say_and_wait},
};

/// How long a source of a bus that closes still waits for what is on its way to it, and any source
/// until the server has taken what it gives back.
const DRAIN: Duration = Duration::from_millis(500);
/// More than a server says about requests in the time that a message takes.
const STATUSES: usize = 16;
/// Where the answers go that end the inbox: no feed has this number.
const LEAVING: &str = "leaving";

impl Puller {
    /// Gives back what nobody will get here any more, and leaves.
    pub(crate) async fn wind_up(&mut self, link: &Link, chunks: ReadyChunks<Subscriber>) {
        // No more requests before anything is given back: it would come here again.
        let asked = |feed: &&Feed| feed.requested > 0;
        let consumers: Vec<_> =
            self.feeds.iter().filter(asked).map(|feed| feed.consumer.clone()).collect();
        let late = self.leave_inbox(link, chunks).await;
        // Asking about a consumer makes the server drop requests that nobody listens to;
        // it would put the first message that it tries to send there behind the others.
        for consumer in consumers {
            let _ = consumer.find(&self.connection).await;
        }
        let words = std::mem::take(&mut self.desk.lock().given_back);
        let kept = self.feeds.iter_mut().flat_map(|feed| feed.recall.give_up());
        let mut words: Words = words.into_iter().chain(kept).chain(late).collect();
        // The server delivers them again in the order in which it reads this.
        words.sort_by_cached_key(|(reply, _)| Origin::parse(reply).map(|of| of.stream_sequence));
        let _ = say_and_wait(&link.client, words, DRAIN).await;
        if self.feeds.iter().any(|feed| !feed.consumer.grouped) {
            self.wait_for_settlements().await;
            for feed in &self.feeds {
                feed.consumer.delete(&self.connection).await;
            }
        }
    }

    /// Unsubscribes and takes in what is on its way. Gives what is to be said about that.
    ///
    /// The client forgets an inbox as soon as it has sent the word, and with it what the server
    /// had sent before it read that. So both sides are told a number of messages after which to
    /// end, more than can be under way, and the server is made to send as many.
    async fn leave_inbox(&mut self, link: &Link, mut chunks: ReadyChunks<Subscriber>) -> Words {
        let mut late = Words::new();
        let requested: usize = self.feeds.iter().map(|feed| feed.requested).sum();
        let Some(feed) = self.feeds.iter().find(|feed| feed.requested > 0) else { return late };
        let missing = (requested + STATUSES) as u64;
        if chunks.get_mut().unsubscribe_after(self.taken + missing).await.is_err() {
            return late;
        }
        let call = self.connection.api(&feed.consumer.next_call());
        let reply = format!("{}.{LEAVING}", self.inbox);
        for _ in 0..missing {
            let no_request = Bytes::from_static(b"{");
            let _ = link.client.publish_with_reply(call.clone(), reply.clone(), no_request).await;
        }
        let mut closing = self.connection.closing();
        let mut given_up = pin!(async {
            let _ = closing.wait_for(|closing| *closing).await;
            tokio::time::sleep(DRAIN).await;
        });
        loop {
            tokio::select! {
                chunk = chunks.next() => match chunk {
                    Some(chunk) => late.extend(self.take(chunk)),
                    None => return late,
                },
                () = &mut given_up => return late,
            }
        }
    }

    /// What was handed out can be settled for as long as its consumer exists.
    async fn wait_for_settlements(&self) {
        let mut closing = self.connection.closing();
        while self.desk.lock().out > 0 {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return,
                () = self.desk.task.notified() => {}
                () = tokio::time::sleep(self.sweep_period()) => {
                    self.desk.sweep();
                }
            }
        }
    }
}
