//! Where writers and readers write down what they see.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use eventbus_core::{Error, Position};

use super::{Attempt, Event, History, Outcome, Settled, Value};

/// The record of a run. Clones write to the same one.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    /// No outcome yet: published detached, or pending.
    attempts: Vec<(Value, Option<Outcome>)>,
    handled: Vec<(Value, Outcome)>,
    delivered: HashSet<Value>,
    events: Vec<Event>,
    ended: Vec<String>,
    errors: BTreeMap<String, u64>,
}

impl Record {
    /// The facts of an error differ, so they are left out.
    fn count(&mut self, error: &Error) {
        let ambiguous = if error.is_ambiguous() { " (ambiguous)" } else { "" };
        let text = format!("{}: {}{ambiguous}", error.kind(), error.message());
        *self.errors.entry(text).or_default() += 1;
    }
}

fn outcome_of(error: &Error) -> Outcome {
    if error.is_ambiguous() { Outcome::Unknown } else { Outcome::Failed }
}

/// A publish that has begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun(usize);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, value: Value) -> Begun {
        let mut record = self.lock();
        record.attempts.push((value, None));
        Begun(record.attempts.len() - 1)
    }

    pub(super) fn end(&self, begun: Begun, outcome: Outcome) {
        self.lock().attempts[begun.0].1 = Some(outcome);
    }

    pub(super) fn handled(&self, value: Value, error: &Error) {
        let mut record = self.lock();
        record.handled.push((value, outcome_of(error)));
        record.count(error);
    }

    pub(super) fn failed(&self, begun: Begun, error: &Error) {
        let mut record = self.lock();
        record.attempts[begun.0].1 = Some(outcome_of(error));
        record.count(error);
    }

    /// Why publishes failed so far, and how many of them.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.lock().errors.clone()
    }

    /// A member got a delivery. For members that the workload does not run itself, such as
    /// other processes: it counts as delivered to the group.
    pub fn delivered(&self, value: Option<Value>, position: Position, attempt: u32) {
        let mut record = self.lock();
        record.delivered.extend(value);
        record.events.push(Event::Delivered { value, position, attempt });
    }

    /// A member settled a delivery without an error.
    pub fn settled(&self, position: Position, how: Settled) {
        self.lock().events.push(Event::Settled { position, how });
    }

    pub(super) fn ended(&self, why: String) {
        self.lock().ended.push(why);
    }

    /// Gives the detached publishes their verdicts: what did not reach the failure handler by
    /// now is acknowledged.
    pub(super) fn resolve(&self) {
        let mut record = self.lock();
        let handled: HashMap<Value, Outcome> = record.handled.iter().copied().collect();
        for (value, outcome) in &mut record.attempts {
            let verdict = || handled.get(value).copied().unwrap_or(Outcome::Acknowledged);
            outcome.get_or_insert_with(verdict);
        }
    }

    /// What is acknowledged and was not delivered to the group yet.
    pub(super) fn undelivered(&self) -> Vec<Value> {
        let record = self.lock();
        let acknowledged =
            record.attempts.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Acknowledged));
        let values = acknowledged.map(|(value, _)| *value);
        values.filter(|value| !record.delivered.contains(value)).collect()
    }

    pub(super) fn is_delivered(&self, value: &Value) -> bool {
        self.lock().delivered.contains(value)
    }

    /// How many different values were delivered.
    pub(super) fn different(&self) -> usize {
        self.lock().delivered.len()
    }

    /// How many deliveries there were.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        let record = self.lock();
        record.events.iter().filter(|event| matches!(event, Event::Delivered { .. })).count()
    }

    /// What the writers and the group saw; the rest is still missing.
    pub(super) fn history(&self) -> History {
        let mut record = self.lock();
        let attempts = std::mem::take(&mut record.attempts);
        History {
            attempts: attempts
                .into_iter()
                .map(|(value, outcome)| Attempt::new(value, outcome.unwrap_or(Outcome::Unknown)))
                .collect(),
            handled: record.handled.drain(..).map(|(value, _)| value).collect(),
            events: std::mem::take(&mut record.events),
            ended: std::mem::take(&mut record.ended),
            errors: std::mem::take(&mut record.errors),
            ..History::default()
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.lock();
        f.debug_struct("Recorder")
            .field("attempts", &record.attempts.len())
            .field("events", &record.events.len())
            .finish_non_exhaustive()
    }
}
