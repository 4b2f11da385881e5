//! What is kept back, and until when.

use super::*;
use crate::consumer::Consumer;
use eventbus_core::{SubscribeOptions, Topic, backend::Content};

/// Up to the tenth message all has come.
fn feed(options: &SubscribeOptions) -> Feed {
    let consumer = Consumer::new("S".into(), "c".into(), vec![], options);
    let mut feed = Feed::new(consumer, 0, false, &delivered(10, 10));
    feed.recall.on = true;
    feed.requested = 100;
    feed
}

fn delivered(stream_seq: u64, consumer_seq: u64) -> Sequences {
    Sequences { consumer_seq, stream_seq }
}

/// A delivery, as often as `attempt` says.
fn come(feed: &mut Feed, stream_sequence: u64, consumer_sequence: u64, attempt: u32) -> bool {
    let published_at = SystemTime::UNIX_EPOCH;
    let origin = Origin {
        stream: "S",
        consumer: "c",
        delivered: attempt,
        stream_sequence,
        consumer_sequence,
        published_at,
    };
    let passes = feed.note(&origin).is_some();
    if let Some(place) = feed.recall.kept.get_mut(&stream_sequence) {
        *place = Some(Arrival {
            consumer: 0,
            epoch: 0,
            sequence: stream_sequence,
            reply: "r".into(),
            topic: Topic::from_static("a"),
            content: Content::Encoded(bytes::Bytes::new()),
            attempt,
            published_at,
            key: None,
            repeated: false,
            alone: false,
            unreadable: false,
        });
    }
    passes
}

fn lose(feed: &mut Feed, found: &Sequences, newest: u64) -> (u64, Vec<u64>) {
    let lost = feed.missing(found, &HashSet::new(), 100);
    feed.recall.wait(lost.0, found, newest, Instant::now() + PATIENCE);
    feed.suspect = false;
    lost
}

fn let_in(feed: &mut Feed) -> Vec<u64> {
    match feed.is_recall_over(Instant::now()) {
        true => feed.end_recall().map(|arrival| arrival.sequence).collect(),
        false => Vec::new(),
    }
}

fn group() -> SubscribeOptions {
    SubscribeOptions::group("g")
}

#[test]
fn what_came_early_waits_for_what_is_missing() {
    let mut feed = feed(&group());
    feed.lost_connection();
    // Eleven and twelve are lost, thirteen came for a request of the old connection.
    assert!(!come(&mut feed, 13, 13, 1));
    assert_eq!(lose(&mut feed, &delivered(13, 13), 13), (2, vec![11, 12]));
    assert!(!come(&mut feed, 11, 14, 2));
    assert!(let_in(&mut feed).is_empty());
    assert!(!come(&mut feed, 12, 15, 2));
    assert_eq!(let_in(&mut feed), [11, 12, 13]);
    assert!(come(&mut feed, 14, 16, 1));
    assert_eq!(feed.last_seen, 14);
}

#[test]
fn what_is_lost_again_is_missing_again() {
    let mut feed = feed(&group());
    feed.lost_connection();
    assert_eq!(lose(&mut feed, &delivered(13, 13), 13), (3, vec![11, 12, 13]));
    assert!(!come(&mut feed, 11, 14, 2));
    // Twelve was under way again.
    feed.lost_connection();
    assert_eq!(lose(&mut feed, &delivered(13, 15), 15), (2, vec![12, 13]));
    assert!(!come(&mut feed, 12, 16, 3));
    assert!(!come(&mut feed, 13, 17, 2));
    assert_eq!(let_in(&mut feed), [11, 12, 13]);
}

#[test]
fn a_newer_one_says_that_nothing_is_missing() {
    let mut feed = feed(&group());
    feed.lost_connection();
    // Two are missing, but one of them has been deleted since.
    assert_eq!(lose(&mut feed, &delivered(12, 12), 12), (2, vec![11, 12]));
    assert!(!come(&mut feed, 12, 13, 2));
    assert!(let_in(&mut feed).is_empty());
    assert!(!come(&mut feed, 13, 14, 1));
    assert_eq!(let_in(&mut feed), [12, 13]);
    assert_eq!(feed.recall.unknown, None);
}

#[test]
fn what_never_came_does_not_count_as_seen() {
    let mut feed = feed(&SubscribeOptions::new());
    feed.lost_connection();
    lose(&mut feed, &delivered(12, 12), 12);
    assert!(!feed.is_recall_over(Instant::now()));
    assert!(feed.is_recall_over(Instant::now() + PATIENCE));
    assert_eq!(feed.end_recall().count(), 0);
    let origin = |stream_sequence| Origin {
        stream: "S",
        consumer: "c",
        delivered: 2,
        stream_sequence,
        consumer_sequence: 13,
        published_at: SystemTime::UNIX_EPOCH,
    };
    assert_eq!(feed.note(&origin(11)), Some(false));
    assert_eq!(feed.note(&origin(10)), Some(true));
}

#[test]
fn nothing_is_taken_from_other_members() {
    let mut feed = feed(&group());
    assert!(come(&mut feed, 12, 12, 1));
    feed.lost_connection();
    assert_eq!(lose(&mut feed, &delivered(15, 15), 15), (0, vec![]));
    assert!(let_in(&mut feed).is_empty());
    assert!(come(&mut feed, 16, 16, 1));
}

#[test]
fn a_server_that_has_forgotten_deliveries_repeats_them() {
    let mut feed = feed(&group());
    feed.lost_connection();
    assert_eq!(lose(&mut feed, &delivered(8, 8), 8), (0, vec![]));
    assert!(let_in(&mut feed).is_empty());
    assert!(come(&mut feed, 9, 9, 1));
    assert!(come(&mut feed, 11, 11, 1));
}
