//! What can be wrong with a history.

use std::fmt;

use eventbus_core::Position;

use super::Value;

/// Where a loss is among what is left of its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Before all that is left, or nothing is.
    Start,
    /// Between.
    Middle,
    /// Behind all that is left.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        })
    }
}

/// Something that a bus which keeps its promises does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Anomaly {
    /// Acknowledged and not stored.
    Lost(Value, Place),
    /// Acknowledged and never delivered to the group.
    Undelivered(Value, Place),
    /// Stored or delivered, and never published.
    Unexpected(Option<Value>, Position),
    /// Stored for the first time behind a later one of its writer and key.
    Inverted {
        /// The earlier value.
        value: Value,
        /// The later one before it.
        behind: Value,
        /// Where the earlier one is.
        position: Position,
    },
    /// Delivered behind a later one though not settled before, by a group that keeps the order.
    DeliveredOutOfOrder {
        /// The earlier value.
        value: Value,
        /// The later one before it.
        behind: Value,
    },
    /// Published once and stored again here.
    Duplicated(Value, Position),
    /// Reported as certainly not stored, and stored.
    StoredThoughFailed(Value),
    /// An atomic batch of which a part is stored.
    Torn {
        /// Its first value.
        batch: Value,
        /// How many of its values are stored.
        stored: usize,
        /// How many it has.
        of: usize,
    },
    /// The verdicts on the values of an atomic batch differ. Its first value.
    VerdictsDiffer(Value),
    /// Reported more than once: to the publisher and to the failure handler, or to that twice.
    TwoVerdicts(Value),
    /// Handed to the failure handler and never published.
    HandledUnasked(Value),
    /// The bus counted something else than the writers saw.
    Miscounted {
        /// What.
        what: &'static str,
        /// How many the bus counted.
        counted: u64,
        /// How many there were.
        seen: u64,
    },
    /// Delivered again after its acknowledgement was confirmed, or after its last attempt.
    SettledRedelivered(Option<Value>, Position),
    /// Delivered, not settled, and never delivered again.
    NotRedelivered(Value, Position),
    /// Exhausted, and not among the dead letters.
    LetterMissing(Value),
    /// A dead letter that was not exhausted.
    LetterEarly(Option<Value>),
    /// A subscription ended that nobody had stopped.
    Ended(String),
}

/// The kinds of anomalies, for counting and for saying what is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the anomaly of the same name")]
pub enum Kind {
    Lost,
    Undelivered,
    Unexpected,
    Inverted,
    DeliveredOutOfOrder,
    Duplicated,
    StoredThoughFailed,
    Torn,
    VerdictsDiffer,
    TwoVerdicts,
    HandledUnasked,
    Miscounted,
    SettledRedelivered,
    NotRedelivered,
    LetterMissing,
    LetterEarly,
    Ended,
}

impl Kind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Lost,
        Self::Undelivered,
        Self::Unexpected,
        Self::Inverted,
        Self::DeliveredOutOfOrder,
        Self::Duplicated,
        Self::StoredThoughFailed,
        Self::Torn,
        Self::VerdictsDiffer,
        Self::TwoVerdicts,
        Self::HandledUnasked,
        Self::Miscounted,
        Self::SettledRedelivered,
        Self::NotRedelivered,
        Self::LetterMissing,
        Self::LetterEarly,
        Self::Ended,
    ];

    /// The kind in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Undelivered => "undelivered",
            Self::Unexpected => "unexpected",
            Self::Inverted => "inverted",
            Self::DeliveredOutOfOrder => "delivered out of order",
            Self::Duplicated => "duplicated",
            Self::StoredThoughFailed => "stored though failed",
            Self::Torn => "torn",
            Self::VerdictsDiffer => "verdicts differ",
            Self::TwoVerdicts => "two verdicts",
            Self::HandledUnasked => "handled unasked",
            Self::Miscounted => "miscounted",
            Self::SettledRedelivered => "settled and redelivered",
            Self::NotRedelivered => "not redelivered",
            Self::LetterMissing => "dead letter missing",
            Self::LetterEarly => "dead letter too early",
            Self::Ended => "subscription ended",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Anomaly {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Lost(..) => Kind::Lost,
            Self::Undelivered(..) => Kind::Undelivered,
            Self::Unexpected(..) => Kind::Unexpected,
            Self::Inverted { .. } => Kind::Inverted,
            Self::DeliveredOutOfOrder { .. } => Kind::DeliveredOutOfOrder,
            Self::Duplicated(..) => Kind::Duplicated,
            Self::StoredThoughFailed(_) => Kind::StoredThoughFailed,
            Self::Torn { .. } => Kind::Torn,
            Self::VerdictsDiffer(_) => Kind::VerdictsDiffer,
            Self::TwoVerdicts(_) => Kind::TwoVerdicts,
            Self::HandledUnasked(_) => Kind::HandledUnasked,
            Self::Miscounted { .. } => Kind::Miscounted,
            Self::SettledRedelivered(..) => Kind::SettledRedelivered,
            Self::NotRedelivered(..) => Kind::NotRedelivered,
            Self::LetterMissing(_) => Kind::LetterMissing,
            Self::LetterEarly(_) => Kind::LetterEarly,
            Self::Ended(_) => Kind::Ended,
        }
    }
}

/// A value, or what stands where one should be.
struct Shown(Option<Value>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("something foreign"),
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind())?;
        match self {
            Self::Lost(value, place) | Self::Undelivered(value, place) => {
                write!(f, "{value} at the {place}")
            }
            Self::Unexpected(value, position) | Self::SettledRedelivered(value, position) => {
                write!(f, "{} at {position}", Shown(*value))
            }
            Self::Inverted { value, behind, position } => {
                write!(f, "{value} at {position} behind {behind}")
            }
            Self::DeliveredOutOfOrder { value, behind } => write!(f, "{value} behind {behind}"),
            Self::NotRedelivered(value, position) => write!(f, "{value} at {position}"),
            Self::Duplicated(value, position) => write!(f, "{value} again at {position}"),
            Self::Torn { batch, stored, of } => {
                write!(f, "{stored} of the {of} from {batch} are stored")
            }
            Self::VerdictsDiffer(batch) => write!(f, "on what was published with {batch}"),
            Self::StoredThoughFailed(value)
            | Self::TwoVerdicts(value)
            | Self::HandledUnasked(value)
            | Self::LetterMissing(value) => write!(f, "{value}"),
            Self::Miscounted { what, counted, seen } => {
                write!(f, "{what}: the bus says {counted}, there were {seen}")
            }
            Self::LetterEarly(value) => write!(f, "{}", Shown(*value)),
            Self::Ended(why) => f.write_str(why),
        }
    }
}
