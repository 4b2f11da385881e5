//! The parsers of names: topics, filters, positions.

#![no_main]

use eventbus_core::{Position, Topic, TopicFilter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (left, right) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(position) = left.parse::<Position>() {
        assert_eq!(position.to_string().parse::<Position>().ok(), Some(position));
    }
    let filters = (left.parse::<TopicFilter>(), right.parse::<TopicFilter>());
    let (Ok(left), Ok(right)) = filters else { return };
    assert_eq!(left.overlaps(&right), right.overlaps(&left));
    if let Ok(topic) = text.parse::<Topic>() {
        assert!(topic.filter().matches(&topic));
    }
    if let Some(topic) = right.as_topic() {
        assert_eq!(left.matches(&topic), left.overlaps(&right));
    }
});
