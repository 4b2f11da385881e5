//! What is known of the batches of a stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use eventbus_core::backend::Stored;

use super::{
    BACKLOG, Outcome, PATIENCE, SILENCE, Word,
    batch::{Batch, Phase},
};
use crate::{
    config::FastIngest,
    error::{NO_BATCHES, Refusal, TOO_MANY_BATCHES, UNKNOWN_BATCH},
    message::Message,
};

/// How long to go without batches when the server has too many.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Stream {
    pub(super) batch: Option<Batch>,
    /// What came while nothing could be written.
    pub(super) held: VecDeque<Message>,
    /// The server refuses batches, for ever or for a while.
    refused: Option<Refused>,
}

#[derive(Clone, Copy)]
enum Refused {
    ForEver,
    Until(Instant),
}

impl Stream {
    pub(super) fn begins(
        &self,
        setting: FastIngest,
        message: &Message,
        behind: usize,
        now: Instant,
    ) -> bool {
        let refused = match self.refused {
            Some(Refused::ForEver) => true,
            Some(Refused::Until(until)) => now < until,
            None => false,
        };
        match setting {
            FastIngest::Off => false,
            FastIngest::Always => true,
            FastIngest::Auto => {
                !refused && behind >= BACKLOG && !message.awaited && !message.idempotent
            }
        }
    }

    pub(super) fn hear(
        &mut self,
        setting: FastIngest,
        sequence: u64,
        word: Word,
        outcome: &mut Outcome,
    ) {
        let Some(batch) = &mut self.batch else { return };
        let now = Instant::now();
        match word {
            Word::Flow(stored) => {
                batch.begun = true;
                batch.stored(stored, outcome);
                if batch.phase == Phase::Starting {
                    batch.opened(now + SILENCE);
                    outcome.again.append(&mut self.held);
                }
            }
            Word::Gap => {
                batch.begun = true;
                batch.ending(now, now + PATIENCE);
            }
            Word::Failed(failed, refusal) => {
                batch.begun = true;
                batch.refuse(failed, refusal.into_error());
                batch.ending(now, now + PATIENCE);
            }
            Word::Ended { count, at, duplicate } => {
                let last = Stored::at(0, at);
                let last = if duplicate { last.duplicate() } else { last };
                self.conclude(|batch, outcome| batch.ended(count, last, outcome), outcome);
            }
            Word::NoResponders if batch.begun => {
                batch.not_taken(sequence);
                batch.ending(now, now + PATIENCE);
                outcome.doubtful.push(batch.route.0.stream);
            }
            Word::NoResponders => self.conclude(Batch::not_begun, outcome),
            Word::Refused(refusal) if refusal.err_code == UNKNOWN_BATCH => {
                batch.not_taken(sequence);
                self.conclude(Batch::forgotten, outcome);
            }
            Word::Refused(refusal) if batch.begun => {
                batch.refuse(sequence, refusal.into_error());
                batch.ending(now, now);
            }
            Word::Refused(refusal) => self.not_begun(setting, refusal, outcome),
        }
    }

    /// The first message was refused: because of the batch, or for itself?
    fn not_begun(&mut self, setting: FastIngest, refusal: Refusal, outcome: &mut Outcome) {
        let Some(batch) = &mut self.batch else { return };
        let refused = match refusal.err_code {
            code if NO_BATCHES.contains(&code) => Some(Refused::ForEver),
            TOO_MANY_BATCHES => Some(Refused::Until(Instant::now() + PAUSE)),
            _ => None,
        };
        if refused.is_some() && setting == FastIngest::Auto {
            let why = refusal.description;
            tracing::warn!(why, "the server refuses a batch; publishing goes on without");
            self.refused = refused;
            batch.not_taken(1);
        } else {
            batch.refuse(1, refusal.into_error());
        }
        self.conclude(|batch, outcome| batch.ended(0, Stored::default(), outcome), outcome);
    }

    /// Ends the batch; what comes of it goes before what waits.
    pub(super) fn conclude(
        &mut self,
        how: impl FnOnce(Batch, &mut Outcome),
        outcome: &mut Outcome,
    ) {
        if let Some(batch) = self.batch.take() {
            how(batch, outcome);
        }
        outcome.again.append(&mut self.held);
    }
}
