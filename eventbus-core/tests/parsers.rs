//! What reads text from outside survives any text, and what it takes it gives back unchanged.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use eventbus_core::{BusConfig, BusUrl, ErrorKind, MAX_TOPIC_BYTES, Position, Topic, TopicFilter};
use proptest::prelude::*;

/// A text that is close to what is read, or far from it.
fn near(alphabet: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::string::string_regex(alphabet).unwrap(),
        1 => ".{0,300}",
    ]
}

fn topics() -> impl Strategy<Value = Topic> {
    "[a-c]{1,2}(\\.[a-c]{1,2}){0,3}".prop_map(|text| text.parse().unwrap())
}

fn filters() -> impl Strategy<Value = TopicFilter> {
    ("([a-c]{1,2}|\\*)(\\.([a-c]{1,2}|\\*)){0,2}", any::<bool>()).prop_map(|(text, rest)| {
        let text = if rest { format!("{text}.>") } else { text };
        text.parse().unwrap()
    })
}

/// What a filter means, as simply as it can be said.
fn selects(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([">"], [_, ..]) | ([], []) => true,
        (["*", filter @ ..], [_, topic @ ..]) => selects(filter, topic),
        ([first, filter @ ..], [segment, topic @ ..]) => first == segment && selects(filter, topic),
        _ => false,
    }
}

proptest! {
    #[test]
    fn topics_are_survived(text in near("[a-zA-Z0-9_.*> -]{0,260}")) {
        match text.parse::<Topic>() {
            Ok(topic) => {
                prop_assert_eq!(topic.as_str(), &text);
                prop_assert!(text.len() <= MAX_TOPIC_BYTES && !text.starts_with("__"));
                prop_assert!(topic.filter().matches(&topic));
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidTopic),
        }
    }

    #[test]
    fn filters_are_survived(text in near("[ab.*>]{0,12}")) {
        match text.parse::<TopicFilter>() {
            Ok(filter) => {
                prop_assert_eq!(filter.as_str(), &text);
                prop_assert!(filter.overlaps(&filter));
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidTopic),
        }
    }

    #[test]
    fn filters_select_what_they_say(filter in filters(), topic in topics()) {
        let pattern: Vec<_> = filter.as_str().split('.').collect();
        let segments: Vec<_> = topic.as_str().split('.').collect();
        prop_assert_eq!(filter.matches(&topic), selects(&pattern, &segments));
    }

    #[test]
    fn filters_that_select_the_same_topic_overlap(
        left in filters(), right in filters(), topic in topics(),
    ) {
        prop_assert_eq!(left.overlaps(&right), right.overlaps(&left));
        if left.matches(&topic) && right.matches(&topic) {
            prop_assert!(left.overlaps(&right), "{} and {} have {}", left, right, topic);
        }
    }

    #[test]
    fn positions_are_survived(text in near("[a-z.]{0,8}(:[a-z0-9.-]{0,24}){0,4}")) {
        if let Ok(position) = text.parse::<Position>() {
            prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
    }

    #[test]
    fn positions_come_back(topic in topics(), partition: u32, offset: u64) {
        let position = Position::new("test", topic, partition, offset);
        prop_assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
    }

    #[test]
    fn urls_are_survived(text in near("[a-z+]{0,6}(://)?[a-z:@,/%?&=0-9 ]{0,60}")) {
        if let Ok(mut url) = text.parse::<BusUrl>() {
            prop_assert!(!url.scheme().is_empty());
            let _ = url.parameters.take::<BusConfig>(BusConfig::PARAMETERS);
        }
    }

    #[test]
    fn parameters_are_survived(
        name in proptest::sample::select(BusConfig::PARAMETERS), value in near("[0-9a-z .-]{0,20}"),
    ) {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut url: BusUrl = format!("memory://?{name}={encoded}").parse().unwrap();
        match url.parameters.take::<BusConfig>(BusConfig::PARAMETERS) {
            Ok(config) => drop(config.validate()),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                prop_assert!(error.to_string().contains(name), "{} does not name {}", error, name);
            }
        }
    }
}
