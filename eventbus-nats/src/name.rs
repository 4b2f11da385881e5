//! Subjects and consumer names.

use eventbus_core::{Topic, TopicFilter};
use uuid::Uuid;

/// The server's limit for the names of consumers.
const MAX_CONSUMER_NAME: usize = 255;

/// The subject of a topic or of a filter.
pub(crate) fn subject(prefix: &str, name: &str) -> String {
    format!("{prefix}.{name}")
}

/// The topic of a subject, if it is one.
pub(crate) fn topic(prefix: &str, subject: &str) -> Option<Topic> {
    subject.strip_prefix(prefix)?.strip_prefix('.')?.parse().ok()
}

/// The durable name of a group: `group@filter`, where `.` reads `~`, `*` reads `+` and `>`
/// reads `=`, because consumer names have none of them. A name too long for the server ends
/// in a digest instead.
pub(crate) fn durable(group: &str, filter: &TopicFilter) -> String {
    let filter = filter.as_str().replace('.', "~").replace('*', "+").replace('>', "=");
    let name = format!("{group}@{filter}");
    if name.len() <= MAX_CONSUMER_NAME {
        return name;
    }
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple();
    format!("{}#{digest}", &name[..MAX_CONSUMER_NAME - 33])
}

/// The pattern of what both patterns match, if anything.
pub(crate) fn intersection(left: &TopicFilter, right: &TopicFilter) -> Option<TopicFilter> {
    let (mut left, mut right) = (left.as_str().split('.'), right.as_str().split('.'));
    let mut both = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return both.join(".").parse().ok(),
            (Some(">"), Some(token)) => {
                both.push(token);
                both.extend(right);
                return both.join(".").parse().ok();
            }
            (Some(token), Some(">")) => {
                both.push(token);
                both.extend(left);
                return both.join(".").parse().ok();
            }
            (Some("*"), Some(token)) | (Some(token), Some("*")) => both.push(token),
            (Some(a), Some(b)) if a == b => both.push(a),
            _ => return None,
        }
    }
}

/// Whether every subject that `part` matches is matched by `whole`. Subjects may have any
/// tokens, so this is not about topics.
pub(crate) fn is_covered(part: &str, whole: &str) -> bool {
    let (mut part, mut whole) = (part.split('.'), whole.split('.'));
    loop {
        match (part.next(), whole.next()) {
            (None, None) | (Some(_), Some(">")) => return true,
            (Some(">"), _) | (None, _) | (_, None) => return false,
            (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pattern: &str) -> TopicFilter {
        pattern.parse().unwrap()
    }

    #[test]
    fn durable_names_read_like_group_and_filter() {
        assert_eq!(durable("billing", &filter("orders.*.>")), "billing@orders~+~=");
        let long = filter("a.".repeat(120).trim_end_matches('.'));
        let group = "g".repeat(100);
        let name = durable(&group, &long);
        assert_eq!(name.len(), MAX_CONSUMER_NAME);
        assert_ne!(name, durable(&group, &filter(&format!("{long}.b"))));
    }

    #[test]
    fn intersections() {
        for (a, b, both) in [
            (">", "orders.>", Some("orders.>")),
            ("orders.*", "*.created", Some("orders.created")),
            ("a.>", "a", None),
            ("a.>", "*.b.c", Some("a.b.c")),
            ("a.*", "a.b.c", None),
            ("a.*.>", "a.>", Some("a.*.>")),
        ] {
            let expected = both.map(filter);
            assert_eq!(intersection(&filter(a), &filter(b)), expected, "{a} {b}");
            assert_eq!(intersection(&filter(b), &filter(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn coverage() {
        for (part, whole, covered) in [
            ("eb.>", "eb.>", true),
            ("eb.a", "eb.>", true),
            ("eb", "eb.>", false),
            ("eb.>", "eb.*", false),
            ("eb.a.*", "eb.*.*", true),
            ("eb.a.b", "eb.a", false),
        ] {
            assert_eq!(is_covered(part, whole), covered, "{part} {whole}");
        }
    }

    #[test]
    fn topics_of_subjects() {
        assert_eq!(topic("eb", "eb.a.b"), Some(Topic::from_static("a.b")));
        assert_eq!(topic("eb", "ebx.a"), None);
        assert_eq!(topic("eb", "eb.a/b"), None);
    }
}
