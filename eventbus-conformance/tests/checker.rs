//! The checker finds each anomaly in a history that holds it, and none in one that does not.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use eventbus_conformance::workload::{
    Anomaly, Attempt, Counts, Event, History, Kind, Letter, Outcome, Place, Promises, Settled,
    Value, check,
};
use eventbus_core::{Position, Topic};
use proptest::prelude::*;

fn at(partition: u32, offset: u64) -> Position {
    Position::new("test", Topic::from_static("workload"), partition, offset)
}

fn value(counter: u64) -> Value {
    Value::new(0, 0, counter)
}

fn counts(history: &History) -> Counts {
    let with = |outcome| history.attempts.iter().filter(|a| a.outcome == outcome).count() as u64;
    let mut counts = Counts::default();
    counts.published = history.attempts.len() as u64;
    counts.acknowledged = with(Outcome::Acknowledged);
    counts.failed = counts.published - counts.acknowledged;
    counts.handled = history.handled.len() as u64;
    counts
}

/// Each value of the attempts stored once, in order, and delivered and acknowledged once.
fn history(attempts: impl IntoIterator<Item = (Value, Outcome)>) -> History {
    let mut history = History::default();
    history.max_attempts = Some(3);
    history.per_key = true;
    for (offset, (value, outcome)) in (0..).zip(attempts) {
        history.attempts.push(Attempt::new(value, outcome));
        if outcome == Outcome::Failed {
            continue;
        }
        let position = at(value.key, offset);
        history.stored.push((Some(value), position.clone()));
        deliver(&mut history, value, &position, 1);
        history.events.push(Event::Settled { position, how: Settled::Confirmed });
    }
    history.counts = counts(&history);
    history
}

fn deliver(history: &mut History, value: Value, position: &Position, attempt: u32) {
    let position = position.clone();
    history.events.push(Event::Delivered { value: Some(value), position, attempt });
}

fn five() -> History {
    history((0..5).map(|counter| (value(counter), Outcome::Acknowledged)))
}

#[track_caller]
fn finds(history: &History, expected: &[Anomaly]) {
    assert_eq!(check(history).anomalies, expected, "{history:#?}");
}

#[test]
fn a_history_without_anomalies_has_none() {
    let history = five();
    finds(&history, &[]);
    let report = check(&history);
    assert!(report.keeps(&Promises::all()));
    let totals = report.totals;
    assert_eq!((totals.operations, totals.acknowledged, totals.stored), (5, 5, 5));
    finds(&History::default(), &[]);
}

#[test]
fn losses_are_told_by_their_place() {
    for (counter, place) in [(0, Place::Start), (2, Place::Middle), (4, Place::End)] {
        let mut history = five();
        history.stored.retain(|(stored, _)| *stored != Some(value(counter)));
        finds(&history, &[Anomaly::Lost(value(counter), place)]);
    }
    let mut history = five();
    history.stored.clear();
    assert_eq!(check(&history).count(Kind::Lost), 5);
}

#[test]
fn what_never_reached_the_group_is_undelivered() {
    let mut history = five();
    history.events.retain(|event| match event {
        Event::Delivered { position, .. } | Event::Settled { position, .. } => {
            *position != at(0, 4)
        }
    });
    finds(&history, &[Anomaly::Undelivered(value(4), Place::End)]);
}

#[test]
fn what_nobody_published_is_unexpected() {
    let mut history = five();
    history.stored.push((Some(value(99)), at(0, 99)));
    history.stored.push((None, at(0, 100)));
    history.events.push(Event::Delivered { value: None, position: at(0, 101), attempt: 1 });
    finds(
        &history,
        &[
            Anomaly::Unexpected(Some(value(99)), at(0, 99)),
            Anomaly::Unexpected(None, at(0, 100)),
            Anomaly::Unexpected(None, at(0, 101)),
        ],
    );
}

#[test]
fn what_comes_from_another_topic_is_unexpected() {
    let mut history = five();
    history.topic = Some(Topic::from_static("workload"));
    finds(&history, &[]);
    let elsewhere = Position::new("test", Topic::from_static("dead"), 0, 0);
    deliver(&mut history, value(1), &elsewhere, 1);
    finds(&history, &[Anomaly::Unexpected(Some(value(1)), elsewhere)]);
}

#[test]
fn an_inversion_is_seen_at_its_place_in_the_partition_and_not_of_the_reading() {
    let mut history = five();
    history.stored.reverse();
    finds(&history, &[]);
    let mut history = five();
    history.stored[1].1 = at(0, 3);
    history.stored[3].1 = at(0, 1);
    let inverted = |counter, behind, offset| Anomaly::Inverted {
        value: value(counter),
        behind: value(behind),
        position: at(0, offset),
    };
    finds(&history, &[inverted(2, 3, 2), inverted(1, 3, 3)]);
}

#[test]
fn other_keys_and_writers_have_no_order() {
    let values = [Value::new(0, 0, 5), Value::new(1, 0, 4), Value::new(0, 1, 3)];
    finds(&history(values.map(|value| (value, Outcome::Acknowledged))), &[]);
}

#[test]
fn a_duplicate_is_no_inversion() {
    let mut history = five();
    history.stored.push((Some(value(1)), at(0, 9)));
    finds(&history, &[Anomaly::Duplicated(value(1), at(0, 9))]);
    // Read twice from one place, it is there once.
    let mut history = five();
    history.stored.push((Some(value(1)), at(0, 1)));
    finds(&history, &[]);
}

#[test]
fn failed_means_not_stored_and_ambiguous_may_be_either() {
    let mut history = five();
    history.attempts[2].outcome = Outcome::Failed;
    history.counts = counts(&history);
    finds(&history, &[Anomaly::StoredThoughFailed(value(2))]);
    for keep in [true, false] {
        let mut history = five();
        history.attempts[2].outcome = Outcome::Unknown;
        history.counts = counts(&history);
        history.stored.retain(|(stored, _)| keep || *stored != Some(value(2)));
        finds(&history, &[]);
    }
}

/// Two batches of two, and one by itself.
fn batches(outcome: Outcome) -> History {
    let mut history = five();
    for (attempt, first) in history.attempts.iter_mut().zip([0, 0, 2, 2]) {
        attempt.outcome = if first == 0 { Outcome::Acknowledged } else { outcome };
        *attempt = attempt.in_batch(value(first));
    }
    history.counts = counts(&history);
    history
}

#[test]
fn of_an_atomic_batch_all_is_stored_or_nothing() {
    let torn = Anomaly::Torn { batch: value(2), stored: 1, of: 2 };
    for gone in [2, 3] {
        let mut history = batches(Outcome::Unknown);
        finds(&history, &[]);
        history.stored.retain(|(stored, _)| *stored != Some(value(gone)));
        finds(&history, std::slice::from_ref(&torn));
        history.stored.retain(|(stored, _)| *stored != Some(value(5 - gone)));
        finds(&history, &[]);
    }
    let mut history = batches(Outcome::Failed);
    history.stored.remove(3);
    finds(&history, &[Anomaly::StoredThoughFailed(value(2)), torn.clone()]);
    let mut history = batches(Outcome::Acknowledged);
    history.stored.remove(3);
    finds(&history, &[Anomaly::Lost(value(3), Place::Middle), torn]);
    // What was published one by one is stored one by one.
    history.attempts.iter_mut().for_each(|attempt| attempt.batch = None);
    finds(&history, &[Anomaly::Lost(value(3), Place::Middle)]);
}

#[test]
fn an_atomic_batch_has_one_verdict() {
    let mut history = batches(Outcome::Unknown);
    history.attempts[3].outcome = Outcome::Acknowledged;
    history.counts = counts(&history);
    finds(&history, &[Anomaly::VerdictsDiffer(value(2))]);
    // Another batch, which may have another one.
    history.attempts[3] = history.attempts[3].in_batch(value(3));
    finds(&history, &[]);
}

#[test]
fn each_publish_has_one_verdict() {
    let mut history = five();
    history.handled.push(value(1));
    history.counts = counts(&history);
    finds(&history, &[Anomaly::TwoVerdicts(value(1))]);
    let mut history = five();
    history.attempts[1].outcome = Outcome::Unknown;
    history.handled = vec![value(1), value(1)];
    history.counts = counts(&history);
    finds(&history, &[Anomaly::TwoVerdicts(value(1))]);
    history.handled = vec![value(1), value(77)];
    finds(&history, &[Anomaly::HandledUnasked(value(77))]);
    history.handled = vec![value(1)];
    history.counts = counts(&history);
    finds(&history, &[]);
    history.attempts[1] = history.attempts[1].told();
    finds(&history, &[Anomaly::TwoVerdicts(value(1))]);
}

#[test]
fn the_bus_counts_what_the_writers_see() {
    let with = |change: fn(&mut Counts)| {
        let mut history = five();
        change(&mut history.counts);
        let anomalies = check(&history).anomalies;
        let [Anomaly::Miscounted { what, .. }] = anomalies[..] else { panic!("{anomalies:?}") };
        what
    };
    assert_eq!(with(|counts| counts.published -= 1), "published");
    assert_eq!(with(|counts| counts.acknowledged -= 1), "acknowledged");
    assert_eq!(with(|counts| counts.failed += 1), "failed");
    assert_eq!(with(|counts| counts.handled += 1), "calls of the failure handler");
}

#[test]
fn only_a_confirmed_acknowledgement_is_final() {
    let mut history = five();
    deliver(&mut history, value(2), &at(0, 2), 2);
    finds(&history, &[Anomaly::SettledRedelivered(Some(value(2)), at(0, 2))]);
    for event in &mut history.events {
        if let Event::Settled { how, .. } = event {
            *how = Settled::Sent;
        }
    }
    finds(&history, &[]);
}

#[test]
fn a_dead_letter_is_not_delivered_again() {
    let mut history = five();
    history.events.push(Event::Settled { position: at(0, 3), how: Settled::Exhausted });
    history.letters = vec![Letter::new(Some(value(3)), 3)];
    finds(&history, &[]);
    deliver(&mut history, value(3), &at(0, 3), 4);
    finds(&history, &[Anomaly::SettledRedelivered(Some(value(3)), at(0, 3))]);
}

/// Of five, the second is not settled, or nacked.
fn unsettled(how: Option<Settled>) -> History {
    let mut history = five();
    let settled =
        |event: &Event| matches!(event, Event::Settled { position, .. } if *position == at(0, 1));
    let place = history.events.iter().position(settled).unwrap();
    match how {
        Some(how) => history.events[place] = Event::Settled { position: at(0, 1), how },
        None => drop(history.events.remove(place)),
    }
    history
}

#[test]
fn what_was_not_settled_comes_again() {
    for how in [None, Some(Settled::Nacked)] {
        let mut history = unsettled(how);
        finds(&history, &[Anomaly::NotRedelivered(value(1), at(0, 1))]);
        history.letters = vec![Letter::new(Some(value(1)), 3)];
        finds(&history, &[]);
        let mut history = unsettled(how);
        history.per_key = false;
        deliver(&mut history, value(1), &at(0, 1), 2);
        finds(&history, &[Anomaly::NotRedelivered(value(1), at(0, 1))]);
        history.events.push(Event::Settled { position: at(0, 1), how: Settled::Sent });
        finds(&history, &[]);
    }
}

#[test]
fn redeliveries_keep_the_order_too() {
    for how in [None, Some(Settled::Nacked)] {
        let mut history = unsettled(how);
        for attempt in [2, 3] {
            deliver(&mut history, value(1), &at(0, 1), attempt);
        }
        history.events.push(Event::Settled { position: at(0, 1), how: Settled::Sent });
        let out = Anomaly::DeliveredOutOfOrder { value: value(1), behind: value(4) };
        finds(&history, &[out]);
        history.per_key = false;
        finds(&history, &[]);
    }
    // Its acknowledgement got lost.
    let mut history = unsettled(Some(Settled::Sent));
    deliver(&mut history, value(1), &at(0, 1), 2);
    finds(&history, &[]);
}

#[test]
fn first_deliveries_follow_the_order_of_storage() {
    let mut history = five();
    history.events.swap(2, 4);
    history.events.swap(3, 5);
    let out = Anomaly::DeliveredOutOfOrder { value: value(1), behind: value(2) };
    finds(&history, &[out]);
    history.per_key = false;
    finds(&history, &[]);
    // Stored in another order than published, the order of storage counts.
    let mut history = five();
    history.events.clear();
    for (stored, offset) in [(1, 0), (0, 1), (2, 2), (3, 3), (4, 4)] {
        deliver(&mut history, value(stored), &at(0, offset), 1);
        history.events.push(Event::Settled { position: at(0, offset), how: Settled::Sent });
    }
    finds(&history, &[]);
}

#[test]
fn dead_letters_are_there_exactly_when_exhausted() {
    let mut history = five();
    history.events.push(Event::Settled { position: at(0, 3), how: Settled::Exhausted });
    finds(&history, &[Anomaly::LetterMissing(value(3))]);
    history.letters = vec![Letter::new(Some(value(3)), 3), Letter::new(Some(value(3)), 4)];
    finds(&history, &[]);
    history.letters.push(Letter::new(Some(value(4)), 2));
    history.letters.push(Letter::new(None, 3));
    finds(&history, &[Anomaly::LetterEarly(Some(value(4))), Anomaly::LetterEarly(None)]);
}

#[test]
fn promises_decide_what_breaks_them() {
    let mut history = five();
    history.ended.push("the stream is gone".to_owned());
    let report = check(&history);
    assert!(!report.keeps(&Promises::all()));
    assert!(report.keeps(&Promises::all().without(Kind::Ended)));
    assert!(report.to_string().contains("subscription ended: the stream is gone"), "{report}");
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Acknowledged),
        1 => Just(Outcome::Failed),
        1 => Just(Outcome::Unknown),
    ]
}

prop_compose! {
    /// What several writers published to several keys, in any interleaving.
    fn clean()(steps in prop::collection::vec((0..4_u32, 0..3_u32, outcomes()), 1..80)) -> History {
        let mut next = [0_u64; 4];
        history(steps.into_iter().map(|(writer, key, outcome)| {
            let counter = &mut next[writer as usize];
            *counter += 1;
            (Value::new(key, writer, *counter), outcome)
        }))
    }
}

/// The only anomalies are these.
fn only(history: &History, expected: &[(Kind, u64)]) -> Result<(), TestCaseError> {
    let report = check(history);
    for kind in Kind::ALL {
        let wanted = expected.iter().find(|(of, _)| of == kind).map_or(0, |(_, count)| *count);
        prop_assert_eq!(report.count(*kind), wanted, "{}: {}", kind, report);
    }
    Ok(())
}

proptest! {
    #[test]
    fn clean_histories_are_clean(history in clean()) {
        only(&history, &[])?;
    }

    #[test]
    fn every_loss_is_found(mut history in clean(), keep in prop::collection::vec(any::<bool>(), 80)) {
        let acknowledged: Vec<Value> = history.attempts.iter()
            .filter(|attempt| attempt.outcome == Outcome::Acknowledged)
            .map(|attempt| attempt.value)
            .collect();
        let mut keep = keep.into_iter();
        history.stored.retain(|_| keep.next().unwrap());
        let left: Vec<Value> = history.stored.iter().filter_map(|(value, _)| *value).collect();
        let lost = acknowledged.iter().filter(|value| !left.contains(value)).count();
        only(&history, &[(Kind::Lost, lost as u64)])?;
    }

    #[test]
    fn every_duplicate_is_found(mut history in clean(), again in any::<prop::sample::Index>()) {
        prop_assume!(!history.stored.is_empty());
        let (value, position) = again.get(&history.stored).clone();
        history.stored.push((value, at(position.partition(), 10_000)));
        only(&history, &[(Kind::Duplicated, 1)])?;
    }

    #[test]
    fn an_exchange_is_an_inversion_within_a_writer_and_key_only(
        mut history in clean(),
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
    ) {
        prop_assume!(!history.stored.is_empty());
        let (first, second) = (first.index(history.stored.len()), second.index(history.stored.len()));
        let of = |index: usize| history.stored[index].0.unwrap();
        let (a, b) = (of(first), of(second));
        let same = a.key == b.key;
        prop_assume!(same);
        let position = history.stored[first].1.clone();
        history.stored[first].1 = history.stored[second].1.clone();
        history.stored[second].1 = position;
        let report = check(&history);
        if a.writer == b.writer && a != b {
            prop_assert!(report.count(Kind::Inverted) > 0, "{}", report);
        }
        prop_assert_eq!(report.count(Kind::Inverted) as usize, report.anomalies.len());
    }
}
