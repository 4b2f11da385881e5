//! Which stream holds which topics.

use std::fmt;

use eventbus_core::{Error, ErrorKind, Topic, TopicFilter};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::invalid;

/// One stream and the topics in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamMapping {
    /// The name of the stream: `[A-Za-z0-9_-]`, at most 100 characters.
    pub name: String,
    /// The topics in it.
    pub topics: Vec<TopicFilter>,
}

impl StreamMapping {
    /// The stream `name`, which holds what `topics` select.
    #[must_use]
    pub fn new(name: impl Into<String>, topics: impl IntoIterator<Item = TopicFilter>) -> Self {
        Self { name: name.into(), topics: topics.into_iter().collect() }
    }
}

/// All streams. As text, and so as a URL parameter: `ORDERS:orders.>,returns.>;AUDIT:audit.>`.
/// A topic belongs to one stream at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StreamMappings(Vec<StreamMapping>);

impl StreamMappings {
    /// These streams.
    #[must_use]
    pub fn new(streams: impl IntoIterator<Item = StreamMapping>) -> Self {
        Self(streams.into_iter().collect())
    }

    /// The streams in their order.
    pub fn iter(&self) -> impl Iterator<Item = &StreamMapping> {
        self.0.iter()
    }

    pub(crate) fn find(&self, topic: &Topic) -> Option<usize> {
        self.0.iter().position(|stream| stream.topics.iter().any(|filter| filter.matches(topic)))
    }

    pub(crate) fn get(&self, index: usize) -> &StreamMapping {
        &self.0[index]
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Err(invalid("streams", "name at least one stream"));
        }
        for (at, stream) in self.0.iter().enumerate() {
            check_name(&stream.name)?;
            if stream.topics.is_empty() {
                return Err(invalid("streams", "a stream has no topics")
                    .with_context("stream", &stream.name));
            }
            for other in &self.0[at + 1..] {
                check_disjoint(stream, other)?;
            }
        }
        Ok(())
    }
}

impl Default for StreamMappings {
    fn default() -> Self {
        Self(vec![StreamMapping::new("EVENTBUS", [TopicFilter::from_static(">")])])
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=100).contains(&name.len()) && name.chars().all(valid) {
        return Ok(());
    }
    let message = "the name of a stream has 1 to 100 characters of A-Z, a-z, 0-9, `_`, `-`";
    Err(invalid("streams", message).with_context("stream", format!("{name:?}")))
}

fn check_disjoint(left: &StreamMapping, right: &StreamMapping) -> Result<(), Error> {
    if left.name == right.name {
        return Err(invalid("streams", "a stream is named twice; list its topics in one place")
            .with_context("stream", &left.name));
    }
    for a in &left.topics {
        if let Some(b) = right.topics.iter().find(|b| a.overlaps(b)) {
            return Err(invalid("streams", "two streams must not hold the same topic")
                .with_context("stream", &left.name)
                .with_context("topics", a)
                .with_context("stream", &right.name)
                .with_context("topics", b));
        }
    }
    Ok(())
}

impl std::str::FromStr for StreamMappings {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(';').map(parse_stream).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_stream(text: &str) -> Result<StreamMapping, Error> {
    let Some((name, topics)) = text.split_once(':') else {
        let message = "write `streams` as `NAME:topics,topics;NAME:topics`";
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    };
    let topics = topics.split(',').map(|pattern| pattern.trim().parse());
    Ok(StreamMapping { name: name.trim().to_owned(), topics: topics.collect::<Result<_, _>>()? })
}

impl<'de> Deserialize<'de> for StreamMappings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> de::Visitor<'de> for TextOrList {
    type Value = StreamMappings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("streams as `NAME:topics,topics;NAME:topics`, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StreamMappings, E> {
        text.parse().map_err(|error: Error| E::custom(error.message()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<StreamMappings, A::Error> {
        let mut streams = Vec::new();
        while let Some(stream) = list.next_element()? {
            streams.push(stream);
        }
        Ok(StreamMappings(streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StreamMappings, Error> {
        let streams: StreamMappings = text.parse()?;
        streams.validate()?;
        Ok(streams)
    }

    #[test]
    fn text_form() {
        let streams = parse("ORDERS:orders.>, returns.*;AUDIT:audit.>").unwrap();
        assert_eq!(streams.find(&Topic::from_static("returns.x")), Some(0));
        assert_eq!(streams.find(&Topic::from_static("audit.x")), Some(1));
        assert_eq!(streams.find(&Topic::from_static("other")), None);
        let json = serde_json::to_string(&streams).unwrap();
        assert_eq!(serde_json::from_str::<StreamMappings>(&json).unwrap(), streams);
    }

    #[test]
    fn bad_mappings_are_refused() {
        for text in ["", "A", "A:", "A:a b", "a.b:x", "A:x;A:y", "A:a.>;B:*.b", ":x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
