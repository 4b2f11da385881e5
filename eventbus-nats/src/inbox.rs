//! The subjects on which answers come.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;

use crate::connection::Link;

/// How many bytes of a UUIDv7 are random, but for two bits: the rest is the time and the version.
/// They are twice in each reply subject of a batch, which the server reads byte by byte.
const SEED: usize = 9;

/// Makes the inbox of a link, the same for the writer and for who matches the answers.
#[derive(Clone)]
pub(crate) struct Inboxes {
    all: Arc<str>,
    /// The random part of it.
    seed: Arc<str>,
}

impl Inboxes {
    pub(crate) fn new(prefix: &str) -> Self {
        let id = uuid::Uuid::now_v7();
        let seed = BASE64URL_NOPAD.encode(&id.as_bytes()[16 - SEED..]);
        Self { all: format!("{prefix}.{seed}").into(), seed: seed.into() }
    }

    /// All that is answered, over whatever link it was asked.
    pub(crate) fn all(&self) -> String {
        format!("{}.>", self.all)
    }

    /// The reply subjects of a link, before the token.
    pub(crate) fn of(&self, link: &Link) -> String {
        format!("{}.{:x}.", self.all, link.number)
    }

    /// What the answers of all batches begin with: their ids are this bus's alone.
    pub(crate) fn of_batches(&self) -> String {
        format!("{}.b{}-", self.all, self.seed)
    }
}
