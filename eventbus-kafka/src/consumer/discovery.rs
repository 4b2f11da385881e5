//! Which topics and partitions there are.

use std::time::Duration;

use eventbus_core::{Topic, TopicFilter};
use rdkafka::{consumer::Consumer as _, error::KafkaResult};

use super::Consumer;
use crate::provision::{selected, topics};

/// A segment of a topic name.
const SEGMENT: &str = "[A-Za-z0-9_-]+";

/// The partitions of all topics that a filter selects.
pub(super) fn partitions(
    consumer: &Consumer,
    filter: &TopicFilter,
    within: Duration,
) -> KafkaResult<Vec<(Topic, i32)>> {
    let only = filter.as_topic();
    let metadata = consumer.fetch_metadata(only.as_ref().map(Topic::as_str), within)?;
    let mut all = Vec::new();
    for known in selected(topics(&metadata), filter) {
        if let Ok(topic) = known.name.parse::<Topic>() {
            all.extend(known.partitions.into_iter().map(|number| (topic.clone(), number)));
        }
    }
    Ok(all)
}

/// What librdkafka subscribes to: a name, or an anchored regular expression.
pub(super) fn pattern(filter: &TopicFilter) -> String {
    if !filter.has_wildcards() {
        return filter.as_str().to_owned();
    }
    let segments = filter.as_str().split('.').map(|segment| match segment {
        "*" => SEGMENT.to_owned(),
        ">" => format!(r"{SEGMENT}(\.{SEGMENT})*"),
        literal => literal.to_owned(),
    });
    format!("^{}$", segments.collect::<Vec<_>>().join(r"\."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_anchored_and_dots_are_dots() {
        let of = |filter: &str| pattern(&filter.parse().unwrap());
        assert_eq!(of("a.b"), "a.b");
        assert_eq!(of("a.*"), r"^a\.[A-Za-z0-9_-]+$");
        assert_eq!(of("*.b.>"), r"^[A-Za-z0-9_-]+\.b\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$");
    }
}
