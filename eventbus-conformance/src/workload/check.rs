//! The checker: a pure function over histories.

use std::collections::{BTreeMap, HashMap, HashSet};

use eventbus_core::Position;

use super::{Anomaly, Attempt, Event, History, Outcome, Place, Report, Settled, Totals, Value};

/// Finds all that is wrong with a history.
#[must_use]
pub fn check(history: &History) -> Report {
    let mut anomalies = Vec::new();
    let attempted: HashSet<Value> = history.attempts.iter().map(|a| a.value).collect();
    let stored = by_position(history);
    storage(history, &stored, &attempted, &mut anomalies);
    let stored = stored.iter().filter_map(|(value, _)| *value).collect();
    verdicts(history, &stored, &attempted, &mut anomalies);
    batches(history, &stored, &mut anomalies);
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

/// The value of a message, if it was published and is where it was published to.
fn expected(
    history: &History,
    attempted: &HashSet<Value>,
    value: Option<Value>,
    position: &Position,
) -> Option<Value> {
    let ours = history.topic.as_ref().is_none_or(|topic| topic == position.topic());
    value.filter(|value| ours && attempted.contains(value))
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
        let Some(value) = expected(history, attempted, *value, position) else {
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
    stored: &HashSet<Value>,
    attempted: &HashSet<Value>,
    anomalies: &mut Vec<Anomaly>,
) {
    let (mut acknowledged, mut told) = (HashSet::new(), HashSet::new());
    for attempt in &history.attempts {
        let Attempt { value, outcome, .. } = attempt;
        if attempt.told {
            told.insert(*value);
        }
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
        } else if !handled.insert(*value) || told.contains(value) || acknowledged.contains(value) {
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

/// Of each atomic batch all is stored or nothing, and the verdicts are alike.
fn batches(history: &History, stored: &HashSet<Value>, anomalies: &mut Vec<Anomaly>) {
    let mut batches: BTreeMap<Value, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &history.attempts {
        if let Some(batch) = attempt.batch {
            batches.entry(batch).or_default().push(attempt);
        }
    }
    for (batch, attempts) in batches {
        let there = attempts.iter().filter(|attempt| stored.contains(&attempt.value)).count();
        if there > 0 && there < attempts.len() {
            anomalies.push(Anomaly::Torn { batch, stored: there, of: attempts.len() });
        }
        if attempts.iter().any(|attempt| attempt.outcome != attempts[0].outcome) {
            anomalies.push(Anomaly::VerdictsDiffer(batch));
        }
    }
}

/// Undelivered, unexpected, out of order, settled and redelivered, unsettled and not.
fn deliveries(history: &History, attempted: &HashSet<Value>, anomalies: &mut Vec<Anomaly>) {
    let (mut seen, mut late) = (HashSet::new(), HashSet::new());
    // Of each key, the furthest that was delivered.
    let mut latest: HashMap<u32, (Value, &Position)> = HashMap::new();
    let (mut over, mut done) = (HashSet::new(), HashSet::new());
    for event in &history.events {
        let (value, position) = match event {
            Event::Delivered { value, position, .. } => (*value, position),
            Event::Settled { position, how } => {
                if matches!(how, Settled::Confirmed | Settled::Exhausted) {
                    over.insert(position);
                }
                if how.for_good() {
                    done.insert(position);
                }
                continue;
            }
        };
        if over.contains(position) {
            anomalies.push(Anomaly::SettledRedelivered(value, position.clone()));
        }
        let Some(value) = expected(history, attempted, value, position) else {
            anomalies.push(Anomaly::Unexpected(value, position.clone()));
            continue;
        };
        seen.insert(value);
        // An acknowledgement that got lost lets a message come again behind newer ones.
        if !history.per_key || done.contains(position) {
            continue;
        }
        // The order is that of storage, which may be another than that of publishing.
        match latest.get(&value.key) {
            Some((behind, at)) if *at > position => {
                if late.insert(position) {
                    anomalies.push(Anomaly::DeliveredOutOfOrder { value, behind: *behind });
                }
            }
            _ => {
                latest.insert(value.key, (value, position));
            }
        }
    }
    missing(history, &seen, Anomaly::Undelivered, anomalies);
    forgotten(history, attempted, done, anomalies);
}

/// Delivered, not settled, and never delivered again.
fn forgotten<'a>(
    history: &'a History,
    attempted: &HashSet<Value>,
    mut done: HashSet<&'a Position>,
    anomalies: &mut Vec<Anomaly>,
) {
    // The last attempt may have run out of time, and the bus dead-lettered it by itself.
    let letters: HashSet<Value> =
        history.letters.iter().filter_map(|letter| letter.value).collect();
    for event in &history.events {
        if let Event::Delivered { value, position, .. } = event
            && let Some(value) = expected(history, attempted, *value, position)
            && !letters.contains(&value)
            && done.insert(position)
        {
            anomalies.push(Anomaly::NotRedelivered(value, position.clone()));
        }
    }
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
