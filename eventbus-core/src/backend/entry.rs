//! How a transport reports what became of an accepted envelope.

use std::{fmt, sync::Arc};

use crate::{Error, ErrorKind, engine::Ledger};

/// Names one accepted envelope while it is in flight. A transport may write it into a
/// reply subject or hand it to a C library; an id whose entry has its verdict already
/// is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(u64);

impl EntryId {
    /// The id as a number.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The id that [`to_u64`](Self::to_u64) gave.
    #[must_use]
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    pub(crate) const fn pack(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    pub(crate) const fn unpack(self) -> (u32, u32) {
        (self.0 as u32, (self.0 >> 32) as u32)
    }
}

/// The broker's word that an envelope is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The partition; 0 where there is none.
    pub partition: u32,
    /// The offset or stream sequence, where the broker tells it.
    pub offset: Option<u64>,
    /// The broker had this id before and kept only that one.
    pub duplicate: bool,
}

impl Stored {
    /// Stored in `partition`, at `offset` if known.
    #[must_use]
    pub const fn at(partition: u32, offset: Option<u64>) -> Self {
        Self { partition, offset, duplicate: false }
    }

    /// So many places behind it.
    pub(crate) fn behind(mut self, places: usize) -> Self {
        self.offset = self.offset.map(|offset| offset + places as u64);
        self
    }

    /// Marks it as a duplicate.
    #[must_use]
    pub const fn duplicate(mut self) -> Self {
        self.duplicate = true;
        self
    }
}

/// Reports verdicts to the engine. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Verdicts(Arc<Ledger>);

impl Verdicts {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self(ledger)
    }

    /// Reports the verdict of one entry. The second verdict for an entry is ignored, except
    /// that an acknowledgement after the timeout counts as late.
    pub fn complete(&self, id: EntryId, verdict: Result<Stored, Error>) {
        self.0.complete_one(id, verdict);
    }

    /// Reports many verdicts at a lower price each.
    pub fn complete_all(
        &self,
        verdicts: impl IntoIterator<Item = (EntryId, Result<Stored, Error>)>,
    ) {
        self.0.complete(verdicts);
    }

    /// Hands an entry back that certainly was not stored and may be sent again. The engine
    /// decides by the retry policy whether it is sent again or fails with `error`.
    pub fn retry(&self, id: EntryId, error: Error) {
        self.0.retry(id, error);
    }

    /// Whether the entry still waits for its verdict.
    #[must_use]
    pub fn is_pending(&self, id: EntryId) -> bool {
        self.0.is_pending(id)
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").finish_non_exhaustive()
    }
}

/// The duty to report the verdict of one envelope. Dropped without a verdict, the envelope
/// fails as ambiguous, so that a transport cannot lose it silently.
pub struct InFlight {
    /// `None` once the duty is done.
    ledger: Option<Arc<Ledger>>,
    id: EntryId,
}

impl InFlight {
    pub(crate) fn new(ledger: Arc<Ledger>, id: EntryId) -> Self {
        Self { ledger: Some(ledger), id }
    }

    /// The id, for verdicts through [`Verdicts`] by a transport that keeps the entry.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.id
    }

    /// Reports the verdict.
    pub fn complete(mut self, verdict: Result<Stored, Error>) {
        if let Some(ledger) = self.ledger.take() {
            ledger.complete_one(self.id, verdict);
        }
    }

    /// Hands the entry back: it certainly was not stored and may be sent again.
    pub fn retry(mut self, error: Error) {
        if let Some(ledger) = self.ledger.take() {
            ledger.retry(self.id, error);
        }
    }

    /// Gives up the guard: the verdict will be reported by the id alone, and if it never is,
    /// the timeout does.
    #[must_use]
    pub fn into_id(mut self) -> EntryId {
        self.ledger = None;
        self.id
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            let error = Error::new(
                ErrorKind::Unexpected,
                "the transport dropped the envelope without a verdict",
            );
            ledger.complete_one(self.id, Err(error.ambiguous()));
        }
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.id).finish()
    }
}
