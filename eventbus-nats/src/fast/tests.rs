//! The rules, without a server.

use std::{collections::VecDeque, sync::atomic::AtomicU64};

use eventbus_core::Topic;

use super::*;
use crate::message::{Route, RouteInfo};

const TOPIC: Topic = Topic::from_static("t");

pub(super) fn fast() -> Fast {
    Fast::new(FastIngest::Always, "i.b-", 4096, Duration::from_secs(5), 1)
}

pub(super) fn message(id: u64) -> Message {
    let route = Route(Arc::new(RouteInfo {
        topic: TOPIC,
        subject: "eb.t".into(),
        stream: 0,
        duplicate_window: Duration::from_secs(120),
        batches: true,
        acknowledged_on: AtomicU64::new(0),
    }));
    Message {
        id: EntryId::from_u64(id),
        route,
        payload: Bytes::new(),
        message_id: None,
        headers: None,
        order: None,
        idempotent: false,
        awaited: false,
        atomic: None,
        written: None,
    }
}

/// Where a message goes: its batch, its sequence in it, and what it means for it.
fn admit(fast: &mut Fast, message: Message) -> Option<(u64, u64, Operation)> {
    match fast.admit(message, 1, Instant::now()) {
        Admission::Batch(To::Batch { number, sequence, operation, .. }, _) => {
            Some((number, sequence, operation))
        }
        Admission::Batch(To::Ring(_), _) | Admission::Ring(_) => panic!("not in a batch"),
        Admission::Held => None,
    }
}

fn act(fast: &mut Fast) -> (Vec<(u64, u64, Operation)>, Outcome) {
    let mut outcome = Outcome::default();
    let written = fast.act(Instant::now(), true, |_| true, &mut outcome);
    let part = |(to, _)| match to {
        To::Batch { number, sequence, operation, .. } => (number, sequence, operation),
        To::Ring(_) => panic!("not of a batch"),
    };
    (written.into_iter().map(part).collect(), outcome)
}

fn hear(fast: &mut Fast, number: u64, sequence: u64, word: Word) -> Outcome {
    let mut outcome = Outcome::default();
    fast.hear(number, sequence, word, &mut outcome);
    outcome
}

fn ids(messages: &VecDeque<Message>) -> Vec<u64> {
    messages.iter().map(|message| message.id.to_u64()).collect()
}

pub(super) fn unknown_batch() -> Word {
    let refusal = serde_json::from_str(r#"{"code": 400, "err_code": 10208, "description": ""}"#);
    Word::Refused(refusal.unwrap())
}

/// A batch with the messages 1 to 3, of which the server has acknowledged the first.
fn open_batch() -> Fast {
    let mut fast = fast();
    assert_eq!(admit(&mut fast, message(1)), Some((0, 1, Operation::Start)));
    hear(&mut fast, 0, 1, Word::Flow(0));
    assert_eq!(admit(&mut fast, message(2)), Some((0, 2, Operation::Append)));
    assert_eq!(admit(&mut fast, message(3)), Some((0, 3, Operation::Append)));
    assert_eq!(hear(&mut fast, 0, 1, Word::Flow(1)).verdicts.len(), 1);
    fast
}

#[test]
fn nothing_follows_a_first_message_that_has_no_answer() {
    let mut fast = fast();
    assert_eq!(admit(&mut fast, message(1)), Some((0, 1, Operation::Start)));
    assert_eq!(admit(&mut fast, message(2)), None);
    assert_eq!(ids(&hear(&mut fast, 0, 1, Word::Flow(0)).again), [2]);
}

#[test]
fn after_a_lost_connection_the_end_is_asked_for_before_anything_is_written() {
    let mut fast = open_batch();
    let mut outcome = Outcome::default();
    fast.connection_lost(&mut outcome);
    assert!(outcome.verdicts.is_empty() && outcome.again.is_empty());
    assert_eq!(admit(&mut fast, message(4)), None, "its end is not known");
    assert_eq!(act(&mut fast).0, [(0, 4, Operation::End)]);
    assert_eq!(admit(&mut fast, message(5)), None, "its end is not known");
    // The server had the second, and not the third.
    let ended = Word::Ended { count: 2, at: Some(9), duplicate: false };
    let outcome = hear(&mut fast, 0, 4, ended);
    assert_eq!(ids(&outcome.again), [3, 4, 5]);
    assert!(matches!(&outcome.verdicts[..], [(id, Ok(_))] if id.to_u64() == 2));
}

#[test]
fn a_first_message_is_written_again_under_the_same_id() {
    let mut fast = fast();
    admit(&mut fast, message(1));
    admit(&mut fast, message(2));
    let mut outcome = Outcome::default();
    fast.connection_lost(&mut outcome);
    assert_eq!(ids(&outcome.again), [1, 2]);
    let first = outcome.again.pop_front().unwrap();
    assert!(first.message_id.is_some() && first.written.is_some() && !first.is_fresh());
    assert_eq!(admit(&mut fast, first), Some((1, 1, Operation::Start)));
}

#[test]
fn of_a_batch_that_is_forgotten_only_what_was_not_taken_is_certain() {
    let mut fast = open_batch();
    let mut outcome = hear(&mut fast, 0, 3, unknown_batch());
    assert_eq!(ids(&outcome.again), [3]);
    let (id, verdict) = outcome.verdicts.pop().unwrap();
    assert_eq!(id.to_u64(), 2);
    assert!(verdict.unwrap_err().is_ambiguous());
}

#[test]
fn what_is_refused_fails_and_the_rest_is_written_again() {
    let mut fast = open_batch();
    let refusal = serde_json::from_str(r#"{"code": 400, "err_code": 10054}"#).unwrap();
    assert!(hear(&mut fast, 0, 2, Word::Failed(2, refusal)).verdicts.is_empty());
    assert_eq!(admit(&mut fast, message(4)), None);
    let outcome = hear(&mut fast, 0, 3, Word::Ended { count: 1, at: None, duplicate: false });
    assert_eq!(ids(&outcome.again), [3, 4]);
    assert!(matches!(&outcome.verdicts[..], [(id, Err(_))] if id.to_u64() == 2));
}

#[test]
fn an_answer_to_an_old_batch_says_nothing() {
    let mut fast = open_batch();
    hear(&mut fast, 0, 4, Word::Ended { count: 3, at: None, duplicate: false });
    assert_eq!(admit(&mut fast, message(4)), Some((1, 1, Operation::Start)));
    let outcome = hear(&mut fast, 0, 4, unknown_batch());
    assert!(outcome.verdicts.is_empty() && outcome.again.is_empty());
    assert_eq!(admit(&mut fast, message(5)), None, "the new one goes on");
}

#[test]
fn what_waits_for_too_long_is_handed_back() {
    let mut fast = Fast::new(FastIngest::Always, "i.b-", 4096, Duration::ZERO, 1);
    admit(&mut fast, message(1));
    admit(&mut fast, message(2));
    let stuck = act(&mut fast).1.stuck;
    assert!(matches!(&stuck[..], [message] if message.id.to_u64() == 2));
}

proptest::proptest! {
    #[test]
    fn any_subject_is_survived(subject in ".{0,60}", rest in "[0-9a-f.$FI]{0,40}") {
        let _ = (address(&subject), address(&rest));
    }

    #[test]
    fn any_answer_is_survived(payload in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        let message = async_nats::Message {
            subject: "i".into(),
            reply: None,
            payload: payload.into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        proptest::prop_assert!(!matches!(Word::parse(&message), Some(Word::Flow(_))));
    }
}
