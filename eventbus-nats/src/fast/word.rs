//! What the server says about a batch.

use async_nats::{Message, StatusCode};
use serde::Deserialize;

use crate::error::Refusal;

/// A word about a batch. Sequences count the messages of the batch from 1.
#[derive(Debug)]
pub(crate) enum Word {
    /// All up to this one are stored.
    Flow(u64),
    /// Something is missing: the server ends the batch, and will say where.
    Gap,
    /// This one was refused: the server ends the batch before it, and will say so.
    Failed(u64, Refusal),
    /// The batch has ended: the first `count` are stored, the last of these at `at` of the
    /// stream, and none behind them.
    Ended { count: u64, at: Option<u64>, duplicate: bool },
    /// The message that this answers was not taken.
    Refused(Refusal),
    /// No stream takes the subject at the moment, so the message that this answers is lost.
    NoResponders,
}

/// Flow acknowledgements, reports and the final acknowledgement in one.
#[derive(Deserialize)]
struct Body {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    duplicate: bool,
    #[serde(default)]
    error: Option<Refusal>,
}

impl Word {
    /// `None` for what says nothing about a batch.
    pub(crate) fn parse(message: &Message) -> Option<Self> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Some(Self::NoResponders);
        }
        let body: Body = serde_json::from_slice(&message.payload).ok()?;
        match (body.kind.as_deref(), body.error) {
            (Some("ack"), _) => Some(Self::Flow(body.seq)),
            (Some("gap"), _) => Some(Self::Gap),
            (Some("err"), Some(refusal)) => Some(Self::Failed(body.seq, refusal)),
            (None, Some(refusal)) => Some(Self::Refused(refusal)),
            (None, None) => Some(Self::Ended {
                count: body.count?,
                at: (body.seq > 0).then_some(body.seq),
                duplicate: body.duplicate,
            }),
            _ => None,
        }
    }
}

/// The last tokens of the reply subject of a message in a batch, which is
/// `{inbox}.{id}.{flow}.fail.{sequence}.{operation}.$FI`.
pub(crate) const SUFFIX: &str = ".$FI";

/// The number of the batch and the sequence of the message that an answer is about, from its
/// subject behind what all batches of a bus have in common.
pub(crate) fn address(subject: &str) -> Option<(u64, u64)> {
    let (number, rest) = subject.strip_suffix(SUFFIX)?.split_once('.')?;
    let mut tokens = rest.rsplit('.');
    let _operation = tokens.next()?;
    Some((u64::from_str_radix(number, 16).ok()?, tokens.next()?.parse().ok()?))
}
