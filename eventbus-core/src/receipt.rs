//! What a publisher gets for an acknowledged envelope.

use crate::Position;

/// The broker's acknowledgement: the envelope is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    position: Option<Position>,
    duplicate: bool,
}

impl Receipt {
    /// A receipt, with the position where the broker tells it.
    #[must_use]
    pub fn new(position: Option<Position>, duplicate: bool) -> Self {
        Self { position, duplicate }
    }

    /// Where the envelope is stored; `None` where the broker does not tell.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether the broker had stored this id before and kept only that one.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.duplicate
    }
}
