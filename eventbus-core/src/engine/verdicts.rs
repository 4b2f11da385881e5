//! From verdicts to whoever wants them.

use super::{
    Ledger,
    failures::{Failed, Held, Kept},
    lanes::LaneWork,
    ledger::Book,
    table::{Completion, Entry},
};
use crate::{
    Error, ErrorKind, Position, PublishFailure, Receipt, Topic,
    backend::{EntryId, Stored},
    envelope::Encoded,
};

/// An entry with its verdict, to be delivered once the lock is released.
pub(super) struct Done {
    entry: Entry,
    verdict: Result<Stored, Error>,
}

impl Ledger {
    /// Takes verdicts, at most `ack_batch_size` under one hold of the lock. The iterator is
    /// advanced under the lock, so it must not call back.
    pub(crate) fn complete(
        &self,
        verdicts: impl IntoIterator<Item = (EntryId, Result<Stored, Error>)>,
    ) {
        let most = self.config.ack_batch_size;
        let mut verdicts = verdicts.into_iter();
        let mut done = Vec::new();
        loop {
            let taken = self.round(verdicts.by_ref().take(most), &mut done);
            self.deliver(done.drain(..));
            if taken < most {
                return;
            }
        }
    }

    /// Takes one verdict: what a transport that knows it at once reports for every message.
    pub(crate) fn complete_one(&self, id: EntryId, verdict: Result<Stored, Error>) {
        let mut done = Vec::new();
        self.round([(id, verdict)], &mut done);
        if !done.is_empty() {
            self.deliver(done);
        }
    }

    /// Takes verdicts under one hold of the lock; how many there were.
    #[inline]
    fn round(
        &self,
        verdicts: impl IntoIterator<Item = (EntryId, Result<Stored, Error>)>,
        done: &mut Vec<Done>,
    ) -> usize {
        let (mut taken, mut flushed) = (0, false);
        let woken = {
            let mut book = self.lock();
            for (id, verdict) in verdicts {
                taken += 1;
                self.settle(&mut book, id, verdict, &mut flushed, done);
            }
            book.capacity.grant()
        };
        woken.wake();
        if flushed {
            self.flushed.notify_waiters();
        }
        taken
    }

    fn settle(
        &self,
        book: &mut Book,
        id: EntryId,
        verdict: Result<Stored, Error>,
        flushed: &mut bool,
        done: &mut Vec<Done>,
    ) {
        let Some(mut entry) = book.table.remove(id) else {
            book.stats.late_acks += u64::from(verdict.is_ok());
            return;
        };
        let Some(together) = entry.together.take() else {
            return self.settle_entry(book, entry, verdict, flushed, done);
        };
        let mut first = Some(entry);
        for (place, member) in together.iter().enumerate() {
            let entry = if *member == id { first.take() } else { book.table.remove(*member) };
            let Some(entry) = entry else { continue };
            let verdict = verdict.clone().map(|stored| stored.behind(place));
            self.settle_entry(book, entry, verdict, flushed, done);
        }
    }

    fn settle_entry(
        &self,
        book: &mut Book,
        entry: Entry,
        verdict: Result<Stored, Error>,
        flushed: &mut bool,
        done: &mut Vec<Done>,
    ) {
        let stored = verdict.is_ok();
        if let Some(retry) = &entry.retry {
            // What may be stored must not be overtaken by an earlier one either.
            let maybe = verdict.as_ref().map_or_else(Error::is_ambiguous, |_| true);
            let work = book.lanes.leave(retry, maybe);
            self.carry_out(book, work, done);
        }
        if stored {
            let len = entry.len();
            book.stats.acknowledged += 1;
            book.stats.in_flight -= 1;
            book.stats.in_flight_bytes -= len;
            *flushed |= book.table.finish(entry.epoch());
            if entry.windowed {
                book.capacity.give_back(1, len);
            }
            if matches!(entry.completion, Completion::Detached) {
                return;
            }
        } else {
            book.stats.failed += 1;
        }
        done.push(Done { entry, verdict });
    }

    /// Does what the lanes want: wakes the timer, and fails what they have given up.
    pub(super) fn carry_out(&self, book: &mut Book, work: LaneWork, done: &mut Vec<Done>) {
        if work.rescheduled {
            self.timer.notify_one();
        }
        for id in work.failed {
            let Some(mut entry) = book.table.remove(id) else {
                continue;
            };
            book.stats.failed += 1;
            let own = entry.retry.take().and_then(|retry| retry.error);
            let verdict = Err(own.unwrap_or_else(gave_up_behind));
            done.push(Done { entry, verdict });
        }
    }

    /// Fails every entry without a verdict; how many there were.
    pub(super) fn fail_all(&self, error: impl Fn(bool) -> Error) -> usize {
        let (ids, failures): (Vec<_>, Vec<_>) = {
            let book = self.lock();
            let sent = |id| book.table.get(id).is_some_and(Entry::was_sent);
            book.table.ids(|_| true).into_iter().map(|id| (id, error(sent(id)))).unzip()
        };
        let count = ids.len();
        self.complete(ids.into_iter().zip(failures.into_iter().map(Err)));
        count
    }

    /// Tells whoever wants to know. A failure that nobody waits for goes to the handler.
    pub(super) fn deliver(&self, done: impl IntoIterator<Item = Done>) {
        for Done { entry, verdict } in done {
            let held = Held { epoch: entry.epoch(), bytes: entry.len(), windowed: entry.windowed };
            let verdict = match verdict {
                Ok(stored) => Ok(self.receipt(&entry.topic, stored)),
                Err(error) => Err(self.failure(entry.topic, entry.encoded, error)),
            };
            let failed = verdict.is_err();
            let unwanted = match entry.completion {
                Completion::Detached => verdict.err(),
                Completion::Waiter(waiter) => waiter.send(verdict).err().and_then(Result::err),
                Completion::Batch(tracker, index) => tracker.report(index, verdict).err(),
            };
            match unwanted {
                Some(failure) => self.pass_on(Failed { failure, kept: Kept::Entry(held) }),
                None if failed => self.release_failed(held),
                None => {}
            }
        }
    }

    fn receipt(&self, topic: &Topic, stored: Stored) -> Receipt {
        let position = stored
            .offset
            .map(|offset| Position::new(self.backend(), topic.clone(), stored.partition, offset));
        Receipt::new(position, stored.duplicate)
    }

    fn failure(&self, topic: Topic, encoded: Encoded, error: Error) -> PublishFailure {
        if error.kind() == ErrorKind::TopicNotFound
            && let Some(forget) = self.forget_route.get()
        {
            forget(&topic);
        }
        let error = match error.backend() {
            "" => error.with_backend(self.backend()),
            _ => error,
        };
        PublishFailure::encoded(topic, error.with_operation("publish"), encoded)
    }

    /// A failure that was waited for, until the waiting was given up.
    pub(super) fn hand_over(&self, failure: PublishFailure) {
        let epoch = self.lock().table.hold();
        self.pass_on(Failed { failure, kept: Kept::Epoch(epoch) });
    }

    /// To the handler; here, when its task has ended meanwhile.
    fn pass_on(&self, failed: Failed) {
        self.failures.push(failed);
        if self.failures.is_detached() {
            self.failures.run(self);
        }
    }
}

fn gave_up_behind() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "not sent, because the retries of an earlier envelope with the same key gave up",
    )
}
