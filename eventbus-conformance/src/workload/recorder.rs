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
    attempts: Vec<Written>,
    handled: Vec<(Value, Outcome)>,
    delivered: HashSet<Value>,
    /// Delivered, and not settled for good.
    open: HashSet<Position>,
    done: HashSet<Position>,
    events: Vec<Event>,
    ended: Vec<String>,
    errors: BTreeMap<String, u64>,
}

/// A publish; without an outcome it was detached, or is pending.
struct Written {
    value: Value,
    batch: Option<Value>,
    told: Option<Outcome>,
}

impl Record {
    /// The verdicts, once all publishing is over: of the detached ones, what did not reach the
    /// failure handler by now is acknowledged.
    fn verdicts(&self) -> Vec<Attempt> {
        let handled: HashMap<Value, Outcome> = self.handled.iter().copied().collect();
        let attempts = self.attempts.iter().map(|Written { value, batch, told }| {
            let handled = || handled.get(value).copied().unwrap_or(Outcome::Acknowledged);
            let outcome = told.unwrap_or_else(handled);
            Attempt { value: *value, outcome, told: told.is_some(), batch: *batch }
        });
        attempts.collect()
    }

    fn tell(&mut self, begun: Begun, outcome: Outcome) {
        self.attempts[begun.0].told = Some(outcome);
    }

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
        self.begin_in(None, value)
    }

    /// A value of the atomic batch that begins with `batch`, or of none.
    pub(super) fn begin_in(&self, batch: Option<Value>, value: Value) -> Begun {
        let mut record = self.lock();
        record.attempts.push(Written { value, batch, told: None });
        Begun(record.attempts.len() - 1)
    }

    pub(super) fn end(&self, begun: Begun, outcome: Outcome) {
        self.lock().tell(begun, outcome);
    }

    pub(super) fn handled(&self, value: Value, error: &Error) {
        let mut record = self.lock();
        record.handled.push((value, outcome_of(error)));
        record.count(error);
    }

    pub(super) fn failed(&self, begun: Begun, error: &Error) {
        let mut record = self.lock();
        record.tell(begun, outcome_of(error));
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
        if value.is_some() && !record.done.contains(&position) {
            record.open.insert(position.clone());
        }
        record.events.push(Event::Delivered { value, position, attempt });
    }

    /// A member settled a delivery without an error.
    pub fn settled(&self, position: Position, how: Settled) {
        let mut record = self.lock();
        if how.for_good() {
            record.open.remove(&position);
            record.done.insert(position.clone());
        }
        record.events.push(Event::Settled { position, how });
    }

    pub(super) fn ended(&self, why: String) {
        self.lock().ended.push(why);
    }

    /// What is acknowledged and was not delivered to the group yet, once all publishing is over.
    pub(super) fn undelivered(&self) -> Vec<Value> {
        let record = self.lock();
        let missing = |attempt: &Attempt| {
            attempt.outcome == Outcome::Acknowledged && !record.delivered.contains(&attempt.value)
        };
        record.verdicts().into_iter().filter(missing).map(|attempt| attempt.value).collect()
    }

    pub(super) fn is_delivered(&self, value: &Value) -> bool {
        self.lock().delivered.contains(value)
    }

    /// How many deliveries are not settled for good.
    pub(super) fn open(&self) -> usize {
        self.lock().open.len()
    }

    /// How far the group has come: values that were delivered, and messages settled for good.
    pub(super) fn progress(&self) -> usize {
        let record = self.lock();
        record.delivered.len() + record.done.len()
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
        let attempts = record.verdicts();
        History {
            attempts,
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
