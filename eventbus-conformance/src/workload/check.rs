//! The checker: a pure function over histories.

use std::collections::{HashMap, HashSet};

use eventbus_core::Position;

use super::{Anomaly, Attempt, Event, History, Outcome, Place, Report, Settled, Totals, Value};

/// Finds all that is wrong with a history.
#[must_use]
pub fn check(history: &History) -> Report {
    let mut anomalies = Vec::new();
    let attempted: HashSet<Value> = history.attempts.iter().map(|a| a.value).collect();
    let stored = by_position(history);
    storage(history, &stored, &attempted, &mut anomalies);
    verdicts(history, &stored, &attempted, &mut anomalies);
    deliveries(history, &attempted, &mut anomalies);
    dead_letters(history, &mut anomalies);
    anomalies.extend(history.ended.iter().cloned().map(Anomaly::Ended));
    Report {
        totals: totals(history),
        errors: history.errors.clone(),
        notes: history.notes.clone(),
        anomalies,
    }
}

fn totals(history: &History) -> Totals {
    let with = |outcome| count(&history.attempts, outcome);
    let delivered =
        history.events.iter().filter(|event| matches!(event, Event::Delivered { .. })).count();
    Totals {
        operations: history.attempts.len() as u64,
        acknowledged: with(Outcome::Acknowledged),
        failed: with(Outcome::Failed),
        unknown: with(Outcome::Unknown),
        stored: history.stored.len() as u64,
        delivered: delivered as u64,
    }
}

fn count(attempts: &[Attempt], outcome: Outcome) -> u64 {
    attempts.iter().filter(|attempt| attempt.outcome == outcome).count() as u64
}

/// What is stored, each position once and in the order of its partition.
fn by_position(history: &History) -> Vec<(Option<Value>, &Position)> {
    let mut stored: Vec<_> = history.stored.iter().map(|(value, at)| (*value, at)).collect();
    stored.sort_unstable_by(|a, b| a.1.cmp(b.1));
    stored.dedup_by(|a, b| a.1 == b.1);
    stored
}

/// Lost, unexpected, inverted, duplicated.
fn storage(
    history: &History,
    stored: &[(Option<Value>, &Position)],
    attempted: &HashSet<Value>,
    anomalies: &mut Vec<Anomaly>,
) {
    let mut seen = HashSet::new();
    let mut order = Order::default();
    for (value, position) in stored {
        let Some(value) = value.filter(|value| attempted.contains(value)) else {
            anomalies.push(Anomaly::Unexpected(*value, (*position).clone()));
            continue;
        };
        if !seen.insert(value) {
            anomalies.push(Anomaly::Duplicated(value, (*position).clone()));
        } else if let Some(behind) = order.behind(value) {
            let position = (*position).clone();
            anomalies.push(Anomaly::Inverted { value, behind, position });
        }
    }
    missing(history, &seen, Anomaly::Lost, anomalies);
}

/// The highest of each writer and key so far.
#[derive(Default)]
struct Order(HashMap<(u32, u32), Value>);

impl Order {
    /// The later value that has been there before this one.
    fn behind(&mut self, value: Value) -> Option<Value> {
        let highest = self.0.entry((value.writer, value.key)).or_insert(value);
        if highest.counter > value.counter {
            return Some(*highest);
        }
        *highest = value;
        None
    }
}

/// What was acknowledged and is not among `seen`.
fn missing(
    history: &History,
    seen: &HashSet<Value>,
    anomaly: fn(Value, Place) -> Anomaly,
    anomalies: &mut Vec<Anomaly>,
) {
    let mut left: HashMap<u32, (u64, u64)> = HashMap::new();
    for value in seen {
        let (low, high) = left.entry(value.writer).or_insert((value.counter, value.counter));
        (*low, *high) = ((*low).min(value.counter), (*high).max(value.counter));
    }
    let acknowledged = history.attempts.iter().filter(|a| a.outcome == Outcome::Acknowledged);
    for Attempt { value, .. } in acknowledged.filter(|attempt| !seen.contains(&attempt.value)) {
        let place = match left.get(&value.writer) {
            Some((low, _)) if value.counter < *low => Place::Start,
            Some((_, high)) if value.counter > *high => Place::End,
            Some(_) => Place::Middle,
            None => Place::Start,
        };
        anomalies.push(anomaly(*value, place));
    }
}

/// One verdict each, and a true one.
fn verdicts(
    history: &History,
    stored: &[(Option<Value>, &Position)],
    attempted: &HashSet<Value>,
    anomalies: &mut Vec<Anomaly>,
) {
    let stored: HashSet<Value> = stored.iter().filter_map(|(value, _)| *value).collect();
    let mut acknowledged = HashSet::new();
    for Attempt { value, outcome } in &history.attempts {
        match outcome {
            Outcome::Acknowledged => {
                acknowledged.insert(*value);
            }
            Outcome::Failed if stored.contains(value) => {
                anomalies.push(Anomaly::StoredThoughFailed(*value));
            }
            Outcome::Failed | Outcome::Unknown => {}
        }
    }
    let mut handled = HashSet::new();
    for value in &history.handled {
        if !attempted.contains(value) {
            anomalies.push(Anomaly::HandledUnasked(*value));
        } else if !handled.insert(*value) || acknowledged.contains(value) {
            anomalies.push(Anomaly::TwoVerdicts(*value));
        }
    }
    let counts = history.counts;
    let unsuccessful =
        count(&history.attempts, Outcome::Failed) + count(&history.attempts, Outcome::Unknown);
    for (what, counted, seen) in [
        ("published", counts.published + counts.refused, history.attempts.len() as u64),
        ("acknowledged", counts.acknowledged, acknowledged.len() as u64),
        ("failed", counts.failed + counts.refused, unsuccessful),
        ("calls of the failure handler", counts.handled, history.handled.len() as u64),
    ] {
        if counted != seen {
            anomalies.push(Anomaly::Miscounted { what, counted, seen });
        }
    }
}

/// Undelivered, unexpected, out of order, settled and redelivered.
fn deliveries(history: &History, attempted: &HashSet<Value>, anomalies: &mut Vec<Anomaly>) {
    let mut seen = HashSet::new();
    // Of each key, what was delivered last for the first time.
    let mut latest: HashMap<u32, (Value, &Position)> = HashMap::new();
    let mut confirmed: HashSet<&Position> = HashSet::new();
    for event in &history.events {
        let (value, position) = match event {
            Event::Delivered { value, position, .. } => (*value, position),
            Event::Settled { position, how: Settled::Confirmed } => {
                confirmed.insert(position);
                continue;
            }
            Event::Settled { .. } => continue,
        };
        if confirmed.contains(position) {
            anomalies.push(Anomaly::SettledRedelivered(value, position.clone()));
        }
        let Some(value) = value.filter(|value| attempted.contains(value)) else {
            anomalies.push(Anomaly::Unexpected(value, position.clone()));
            continue;
        };
        if !history.per_key || !seen.insert(value) {
            seen.insert(value);
            continue;
        }
        // The order is that of storage, which may be another than that of publishing.
        match latest.get(&value.key) {
            Some((behind, at)) if *at > position => {
                anomalies.push(Anomaly::DeliveredOutOfOrder { value, behind: *behind });
            }
            _ => {
                latest.insert(value.key, (value, position));
            }
        }
    }
    missing(history, &seen, Anomaly::Undelivered, anomalies);
}

/// Dead letters exactly when exhausted.
fn dead_letters(history: &History, anomalies: &mut Vec<Anomaly>) {
    let mut at: HashMap<&Position, Value> = HashMap::new();
    let mut exhausted = HashSet::new();
    for event in &history.events {
        match event {
            Event::Delivered { value: Some(value), position, .. } => {
                at.insert(position, *value);
            }
            Event::Settled { position, how: Settled::Exhausted } => {
                exhausted.extend(at.get(position).copied());
            }
            Event::Delivered { .. } | Event::Settled { .. } => {}
        }
    }
    let mut letters = HashSet::new();
    for letter in &history.letters {
        let enough = history.max_attempts.is_some_and(|max| letter.attempts >= max);
        match letter.value {
            Some(value) if enough => {
                letters.insert(value);
            }
            value => anomalies.push(Anomaly::LetterEarly(value)),
        }
    }
    let missing = exhausted.difference(&letters);
    anomalies.extend(missing.copied().map(Anomaly::LetterMissing));
}
