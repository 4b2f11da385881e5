//! What is said to the server about messages that it has delivered.

use std::{collections::HashMap, time::Duration};

use async_nats::{Client, PublishError, Request, Subject};
use bytes::Bytes;
use eventbus_core::{Error, ErrorKind};
use futures_util::future::join_all;

use crate::{delivered::Origin, error};

/// What is to be said to the server afterwards.
pub(crate) type Words = Vec<(Subject, Bytes)>;

pub(crate) async fn say(client: &Client, words: Words) -> Result<(), PublishError> {
    for (reply, word) in words {
        client.publish(reply, word).await?;
    }
    Ok(())
}

/// Says words, and waits until the server has taken the last one of each consumer. It reads those
/// of a consumer one after the other, and requests for messages beside them: who asks before it
/// has read all gets something newer first.
pub(crate) async fn say_and_wait(
    client: &Client,
    words: Words,
    patience: Duration,
) -> Result<(), Error> {
    let mut last = HashMap::new();
    for (reply, word) in words {
        let consumer = Origin::parse(&reply)
            .map(|origin| (origin.stream.to_owned(), origin.consumer.to_owned()));
        if let Some((reply, word)) = last.insert(consumer, (reply, word)) {
            client.publish(reply, word).await.map_err(|_| error::not_connected())?;
        }
    }
    let asked = last.into_values().map(|(reply, word)| {
        client.send_request(reply, Request::new().payload(word).timeout(Some(patience)))
    });
    for answer in join_all(asked).await {
        answer.map_err(|failure| {
            error::error(ErrorKind::Unavailable, "the server did not take messages back")
                .with_context("client:", failure)
        })?;
    }
    Ok(())
}
