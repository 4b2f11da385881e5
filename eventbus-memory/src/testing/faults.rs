//! Faults of one bus's sends, on order of a test.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use eventbus_core::{
    Error, Topic,
    backend::{EntryId, InFlight, Stored, Verdicts},
};

pub(crate) struct Faults {
    /// Whether anything is ordered, so that without tests a send does not take the lock.
    ordered: AtomicBool,
    orders: Mutex<Orders>,
    verdicts: Verdicts,
}

#[derive(Default)]
struct Orders {
    next: VecDeque<Order>,
    refused: HashMap<Topic, Error>,
    /// The verdicts held back, while they are to be.
    held: Option<Vec<(EntryId, Stored)>>,
}

struct Order {
    sends: usize,
    fate: Fate,
    error: Error,
}

#[derive(Clone, Copy)]
pub(super) enum Fate {
    Failed,
    HandedBack,
}

impl Faults {
    pub(crate) fn new(verdicts: Verdicts) -> Self {
        Self { ordered: AtomicBool::new(false), orders: Mutex::default(), verdicts }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.lock();
        change(&mut orders);
        self.ordered.store(!orders.is_empty(), Ordering::Release);
    }

    /// Lets a send through, or gives it its fate.
    pub(crate) fn intercept(&self, topic: &Topic, entry: InFlight) -> Option<InFlight> {
        if !self.ordered.load(Ordering::Acquire) {
            return Some(entry);
        }
        let mut fate = None;
        self.change(|orders| fate = orders.fate(topic));
        match fate {
            None => return Some(entry),
            Some((Fate::Failed, error)) => entry.complete(Err(error)),
            Some((Fate::HandedBack, error)) => entry.retry(error),
        }
        None
    }

    /// Reports that an envelope is stored, unless that is to be held back.
    pub(crate) fn acknowledge(&self, entry: InFlight, stored: Stored) {
        if self.ordered.load(Ordering::Acquire) {
            let mut orders = self.lock();
            if let Some(held) = &mut orders.held {
                held.push((entry.into_id(), stored));
                return;
            }
        }
        entry.complete(Ok(stored));
    }

    pub(super) fn next(&self, sends: usize, fate: Fate, error: Error) {
        let order = Order { sends, fate, error };
        self.change(|orders| orders.next.push_back(order));
    }

    pub(super) fn refuse(&self, topic: Topic, error: Error) {
        self.change(|orders| {
            orders.refused.insert(topic, error);
        });
    }

    pub(super) fn allow(&self, topic: &Topic) {
        self.change(|orders| {
            orders.refused.remove(topic);
        });
    }

    pub(super) fn hold(&self) {
        self.change(|orders| {
            orders.held.get_or_insert_default();
        });
    }

    pub(super) fn release(&self) {
        let mut held = None;
        self.change(|orders| held = orders.held.take());
        let verdicts = held.unwrap_or_default().into_iter();
        self.verdicts.complete_all(verdicts.map(|(entry, stored)| (entry, Ok(stored))));
    }
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.refused.is_empty() && self.held.is_none()
    }

    fn fate(&mut self, topic: &Topic) -> Option<(Fate, Error)> {
        if let Some(error) = self.refused.get(topic) {
            return Some((Fate::Failed, error.clone()));
        }
        while let Some(order) = self.next.front_mut() {
            if let Some(left) = order.sends.checked_sub(1) {
                order.sends = left;
                return Some((order.fate, order.error.clone()));
            }
            self.next.pop_front();
        }
        None
    }
}
