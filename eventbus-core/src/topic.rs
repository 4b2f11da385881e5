//! Topic names and the filters that subscriptions use.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::{Error, ErrorKind};

/// The longest topic name in bytes: Kafka's limit, the smallest of the three backends.
pub const MAX_TOPIC_BYTES: usize = 249;

/// The name of a topic: dot-separated segments of `[A-Za-z0-9_-]`, at most
/// [`MAX_TOPIC_BYTES`] bytes, not starting with `__`.
///
/// The rules are the intersection of what NATS subjects and Kafka topics allow, so a
/// name that is valid here is valid on each backend. Cloning is cheap.
///
/// ```
/// use eventbus_core::Topic;
/// const ORDERS: Topic = Topic::from_static("orders.created"); // checked at compile time
/// let parsed: Topic = "orders.created".parse()?;
/// assert_eq!(parsed, ORDERS);
/// # Ok::<(), eventbus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(SmolStr);

impl Topic {
    /// A topic from a literal. In a `const`, a bad name is a compile error.
    ///
    /// # Panics
    /// When the name breaks the rules; use [`str::parse`] for names known only at run time.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        match check(name.as_bytes(), Wildcards::Refused) {
            Ok(()) => Self(SmolStr::new_static(name)),
            Err(fault) => panic!("{}", fault.describe()),
        }
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter that matches this topic and no other.
    #[must_use]
    pub fn filter(&self) -> TopicFilter {
        TopicFilter(self.0.clone())
    }
}

impl FromStr for Topic {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        check(name.as_bytes(), Wildcards::Refused)
            .map(|()| Self(SmolStr::new(name)))
            .map_err(|fault| invalid("topic", name, fault))
    }
}

impl TryFrom<String> for Topic {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.0.into()
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.0)
    }
}

/// A pattern over topics: `*` stands for exactly one segment, a final `>` for one or more.
///
/// ```
/// use eventbus_core::{Topic, TopicFilter};
/// let filter: TopicFilter = "orders.*.created".parse()?;
/// assert!(filter.matches(&"orders.eu.created".parse()?));
/// assert!(!filter.matches(&"orders.created".parse()?));
/// # Ok::<(), eventbus_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicFilter(SmolStr);

impl TopicFilter {
    /// A filter from a literal. In a `const`, a bad pattern is a compile error.
    ///
    /// # Panics
    /// When the pattern breaks the rules; use [`str::parse`] for patterns known only at run time.
    #[must_use]
    pub const fn from_static(pattern: &'static str) -> Self {
        match check(pattern.as_bytes(), Wildcards::Allowed) {
            Ok(()) => Self(SmolStr::new_static(pattern)),
            Err(fault) => panic!("{}", fault.describe()),
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has a wildcard.
    #[must_use]
    pub fn has_wildcards(&self) -> bool {
        self.0.contains(['*', '>'])
    }

    /// The one topic that this filter matches, if it has no wildcard.
    #[must_use]
    pub fn as_topic(&self) -> Option<Topic> {
        (!self.has_wildcards()).then(|| Topic(self.0.clone()))
    }

    /// Whether `topic` is selected by this filter.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut names = topic.0.split('.');
        for pattern in self.0.split('.') {
            match (pattern, names.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (pattern, Some(name)) if pattern == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether some topic is selected by both filters.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.0.split('.'), other.0.split('.'));
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }
}

impl FromStr for TopicFilter {
    type Err = Error;

    fn from_str(pattern: &str) -> Result<Self, Error> {
        check(pattern.as_bytes(), Wildcards::Allowed)
            .map(|()| Self(SmolStr::new(pattern)))
            .map_err(|fault| invalid("topic filter", pattern, fault))
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = Error;

    fn try_from(pattern: String) -> Result<Self, Error> {
        pattern.parse()
    }
}

impl From<TopicFilter> for String {
    fn from(filter: TopicFilter) -> Self {
        filter.0.into()
    }
}

impl From<&Topic> for TopicFilter {
    fn from(topic: &Topic) -> Self {
        topic.filter()
    }
}

impl From<Topic> for TopicFilter {
    fn from(topic: Topic) -> Self {
        Self(topic.0)
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicFilter({})", self.0)
    }
}

#[derive(Clone, Copy)]
enum Wildcards {
    Allowed,
    Refused,
}

#[derive(Clone, Copy)]
enum Fault {
    Empty,
    TooLong,
    Reserved,
    EmptySegment,
    Character,
    Wildcard,
    WildcardPlace,
}

impl Fault {
    const fn describe(self) -> &'static str {
        match self {
            Self::Empty => "a topic name must not be empty",
            Self::TooLong => "a topic name has at most 249 bytes",
            Self::Reserved => "names starting with `__` belong to the brokers",
            Self::EmptySegment => {
                "a segment is empty: no leading, trailing or doubled dots are allowed"
            }
            Self::Character => "only A-Z, a-z, 0-9, `_`, `-` and dots are allowed",
            Self::Wildcard => {
                "wildcards select topics in a subscription, they cannot be published to"
            }
            Self::WildcardPlace => "`*` must be a whole segment and `>` the whole last segment",
        }
    }
}

const fn check(name: &[u8], wildcards: Wildcards) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::Empty);
    }
    if name.len() > MAX_TOPIC_BYTES {
        return Err(Fault::TooLong);
    }
    if name.len() >= 2 && name[0] == b'_' && name[1] == b'_' {
        return Err(Fault::Reserved);
    }
    let mut start = 0;
    let mut at = 0;
    while at <= name.len() {
        if at == name.len() || name[at] == b'.' {
            if at == start {
                return Err(Fault::EmptySegment);
            }
            start = at + 1;
        } else if name[at] == b'*' || name[at] == b'>' {
            if matches!(wildcards, Wildcards::Refused) {
                return Err(Fault::Wildcard);
            }
            let ends_segment = at + 1 == name.len() || (name[at] == b'*' && name[at + 1] == b'.');
            if at != start || !ends_segment {
                return Err(Fault::WildcardPlace);
            }
        } else if !(name[at].is_ascii_alphanumeric() || name[at] == b'_' || name[at] == b'-') {
            return Err(Fault::Character);
        }
        at += 1;
    }
    Ok(())
}

fn invalid(what: &'static str, name: &str, fault: Fault) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(ErrorKind::InvalidTopic, fault.describe()).with_context(what, format!("{shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: &str = const {
        const BYTES: [u8; MAX_TOPIC_BYTES] = [b'a'; MAX_TOPIC_BYTES];
        match str::from_utf8(&BYTES) {
            Ok(name) => name,
            Err(_) => panic!(),
        }
    };

    #[test]
    fn names_that_are_valid() {
        for name in ["a", "orders.created", "A-1.b_2", "_x", LONGEST] {
            assert_eq!(name.parse::<Topic>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_are_refused() {
        let long = "a".repeat(MAX_TOPIC_BYTES + 1);
        for name in
            ["", ".", "a.", ".a", "a..b", "a b", "ä", "a/b", "__x", "a.*", "a.>", "a\n", &long]
        {
            let error = name.parse::<Topic>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidTopic, "{name}");
        }
    }

    #[test]
    fn filters_that_are_refused() {
        for pattern in ["", "a.>.b", ">.a", "a*", "*a", "a.*b.c", "a>", "**", "a.>>"] {
            assert!(pattern.parse::<TopicFilter>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn filters_match_whole_segments() {
        let matches = |pattern: &str, name: &str| {
            let filter: TopicFilter = pattern.parse().unwrap();
            filter.matches(&name.parse().unwrap())
        };
        assert!(matches("a.b", "a.b"));
        assert!(matches("a.*", "a.b"));
        assert!(matches("*", "a"));
        assert!(matches(">", "a.b.c"));
        assert!(matches("a.>", "a.b.c"));
        assert!(matches("*.b.>", "a.b.c"));
        assert!(!matches("a.b", "a.bc"));
        assert!(!matches("a.*", "a"));
        assert!(!matches("a.*", "a.b.c"));
        assert!(!matches("a.>", "a"));
        assert!(!matches("a.b", "a_b"));
        assert!(!matches("a.b.c", "a.b"));
    }

    #[test]
    fn overlap_is_symmetric() {
        for (a, b, expected) in [
            ("a.*", "*.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.b", "a.c", false),
            (">", "*", true),
            ("a.*.c", "a.b.>", true),
            ("a.*", "a.b.c", false),
        ] {
            let (a, b): (TopicFilter, TopicFilter) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.overlaps(&b), expected, "{a} {b}");
            assert_eq!(b.overlaps(&a), expected, "{b} {a}");
        }
    }
}
