//! Publishing events one after the other, in any of the modes.

use std::{
    collections::BTreeMap,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    vec,
};

use eventbus::{Envelope, Error, ErrorKind, EventBus, EventBusExt, Position, PublishError, Topic};
use indicatif::ProgressBar;

use crate::{
    exit::{Failure, complain},
    input::{Lines, Numbered},
    interrupt::Interrupt,
    mode::PublishMode,
};

/// So many failures are shown one by one.
const SHOWN_FAILURES: u64 = 10;

/// Where events come from.
pub(crate) enum Source {
    Ready(vec::IntoIter<Numbered>),
    Lines(Box<Lines<tokio::io::Stdin>>),
}

impl Source {
    pub(crate) fn of(events: Vec<Numbered>) -> Self {
        Self::Ready(events.into_iter())
    }

    async fn next(&mut self) -> Option<Result<Numbered, Failure>> {
        match self {
            Self::Ready(events) => events.next().map(Ok),
            Self::Lines(lines) => {
                let line = lines.next().await?;
                let hint = "a line is a JSON event, see `eventbus pub --help`; if your lines are the \
                            payloads, add --raw";
                Some(line.map_err(|failure| failure.tip(hint)))
            }
        }
    }
}

/// Failures, shown one by one as long as they are few.
#[derive(Debug, Default)]
pub(crate) struct Failures(AtomicU64);

impl Failures {
    pub(crate) fn show(&self, failure: &dyn fmt::Display) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        if before < SHOWN_FAILURES {
            complain(&format!("not stored: {failure}"));
        } else if before == SHOWN_FAILURES {
            complain("not stored: … more, which are only counted");
        }
    }
}

/// Publishes to one bus.
pub(crate) struct Publishing<'a> {
    bus: &'a dyn EventBus,
    mode: PublishMode,
    batch_size: usize,
    batch: Vec<Numbered>,
    failures: &'a Failures,
    /// Where the last event is that waited for its receipt.
    last: Option<Position>,
    progress: &'a ProgressBar,
}

impl<'a> Publishing<'a> {
    pub(crate) fn new(
        bus: &'a dyn EventBus,
        mode: PublishMode,
        batch_size: usize,
        failures: &'a Failures,
        progress: &'a ProgressBar,
    ) -> Self {
        Self { bus, mode, batch_size, batch: Vec::new(), failures, last: None, progress }
    }

    pub(crate) fn last(&self) -> Option<Position> {
        self.last.clone()
    }

    /// Publishes everything that the source gives until it ends or the user wants to stop.
    /// In mode `async` verdicts may be outstanding afterwards.
    pub(crate) async fn all(
        &mut self,
        mut source: Source,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        loop {
            let event = tokio::select! {
                biased;
                () = interrupt.requested() => break,
                event = source.next() => event,
            };
            match event {
                None => break,
                Some(Ok(event)) => self.one(event).await?,
                Some(Err(failure)) => {
                    self.finish_batch().await?;
                    return Err(failure);
                }
            }
        }
        self.finish_batch().await
    }

    async fn one(&mut self, event: Numbered) -> Result<(), Failure> {
        let line = event.line;
        self.progress.inc(1);
        match self.mode {
            PublishMode::Async => {
                let published = self.bus.publish(&event.topic, event.envelope).await;
                published.or_else(|error| self.not_stored(line, error))
            }
            PublishMode::Sync => match self.bus.publish_sync(&event.topic, event.envelope).await {
                Ok(receipt) => {
                    self.last = receipt.position().cloned();
                    Ok(())
                }
                Err(error) => self.not_stored(line, error),
            },
            PublishMode::Batch => {
                self.batch.push(event);
                if self.batch.len() < self.batch_size {
                    return Ok(());
                }
                self.finish_batch().await
            }
        }
    }

    /// Publishes what is in the batch, one batch per topic, whatever becomes of the others.
    async fn finish_batch(&mut self) -> Result<(), Failure> {
        let mut topics: BTreeMap<Topic, (Vec<Option<u64>>, Vec<Envelope>)> = BTreeMap::new();
        for event in self.batch.drain(..) {
            let (lines, envelopes) = topics.entry(event.topic).or_default();
            lines.push(event.line);
            envelopes.push(event.envelope);
        }
        let mut failed = Vec::new();
        for (topic, (lines, envelopes)) in topics {
            match self.bus.publish_batch(&topic, envelopes).await {
                Ok(receipts) => {
                    self.last = receipts.last().and_then(|last| last.position().cloned());
                }
                Err(error) => {
                    let failures = error.into_failures().into_iter();
                    failed.extend(failures.map(|failure| (lines[failure.index], failure.error)));
                }
            }
        }
        failed.sort_by_key(|(line, _)| *line);
        let mut outcome = Ok(());
        for (line, error) in failed {
            let told = self.not_stored(line, error);
            outcome = outcome.and(told);
        }
        outcome
    }

    /// Shows what was not stored; an error when the rest would not be stored either.
    fn not_stored(&self, line: Option<u64>, error: PublishError) -> Result<(), Failure> {
        let error = Error::from(error);
        let place = line.map_or_else(String::new, |line| format!("line {line}: "));
        let only_this = matches!(
            error.kind(),
            ErrorKind::TooLarge | ErrorKind::AckTimeout | ErrorKind::Rejected
        );
        if only_this {
            self.failures.show(&format!("{place}{error}"));
            return Ok(());
        }
        Err(Failure::from(error).context(&place))
    }
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use eventbus::memory::testing;

    use super::*;

    #[tokio::test]
    async fn a_topic_that_fails_keeps_no_other_of_its_batch_from_being_stored() {
        let (bus, probe) = testing::bus().await;
        probe.fail_next(2, Error::new(ErrorKind::TopicNotFound, "not there"));
        let event = |line, topic: &str| Numbered {
            line: Some(line),
            topic: topic.parse().unwrap(),
            envelope: Envelope::new("test", ""),
        };
        let events = vec![event(1, "z.there"), event(2, "a.missing"), event(3, "a.missing")];
        let (failures, hidden) = (Failures::default(), ProgressBar::hidden());
        let mut publishing = Publishing::new(&*bus, PublishMode::Batch, 500, &failures, &hidden);
        let outcome = publishing.all(Source::of(events), &Interrupt::never()).await;
        assert!(outcome.unwrap_err().message().starts_with("line 2: "));
        assert_eq!(probe.published(&"z.there".parse().unwrap()).len(), 1);
        bus.close().await.unwrap();
    }
}
