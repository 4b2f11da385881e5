//! Which topics are raw.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Error, Topic, TopicFilter};

/// The topics whose messages are in the raw format, because other programs write or read them.
/// As text, and so as a URL parameter: `legacy.>,audit.*`; in a configuration file also a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RawTopics(Vec<TopicFilter>);

impl RawTopics {
    /// What these filters select.
    #[must_use]
    pub fn new(filters: impl IntoIterator<Item = TopicFilter>) -> Self {
        Self(filters.into_iter().collect())
    }

    /// Whether `topic` is raw.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.0.iter().any(|filter| filter.matches(topic))
    }

    /// Whether no topic is raw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The filters in their order.
    pub fn iter(&self) -> impl Iterator<Item = &TopicFilter> {
        self.0.iter()
    }
}

impl FromStr for RawTopics {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|filter| filter.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for RawTopics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> de::Visitor<'de> for TextOrList {
    type Value = RawTopics;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("topic filters as `legacy.>,audit.*`, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawTopics, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<RawTopics, A::Error> {
        let mut filters = Vec::new();
        while let Some(filter) = list.next_element()? {
            filters.push(filter);
        }
        Ok(RawTopics(filters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_list() {
        let raw: RawTopics = "legacy.>, audit.*".parse().unwrap();
        assert!(raw.matches(&Topic::from_static("legacy.a.b")));
        assert!(raw.matches(&Topic::from_static("audit.x")));
        assert!(!raw.matches(&Topic::from_static("orders")));
        let json = serde_json::to_string(&raw).unwrap();
        assert_eq!(json, r#"["legacy.>","audit.*"]"#);
        assert_eq!(serde_json::from_str::<RawTopics>(&json).unwrap(), raw);
        assert_eq!(serde_json::from_str::<RawTopics>(r#""legacy.>,audit.*""#).unwrap(), raw);
        assert!("".parse::<RawTopics>().unwrap().is_empty());
    }

    #[test]
    fn a_bad_filter_is_named() {
        for text in ["a..b", "a,,b", "a,b*"] {
            assert!(text.parse::<RawTopics>().is_err(), "{text}");
        }
        let error = "a.*,b c".parse::<RawTopics>().unwrap_err().to_string();
        assert!(error.contains("b c"), "{error}");
    }
}
