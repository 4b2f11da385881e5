//! Batches against a model of the server, which loses messages, answers, connections and what it
//! knew, and reads what is left of old connections whenever it likes.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use eventbus_core::{Error, backend::Stored};
use proptest::prelude::*;

use super::{tests::*, *};

/// The server acknowledges every so many messages.
const FLOW: u64 = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish {
        awaited: bool,
    },
    /// The writer takes what is queued.
    Write,
    /// The server reads the next message.
    Read,
    /// The next message gets lost, as when there is no leader.
    Lose,
    /// An answer arrives.
    Hear,
    TimePasses,
    LoseConnection,
    /// The server reads the next message of an old connection.
    ReadTail,
    /// It forgets its batches.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|awaited| Step::Publish { awaited }),
        6 => Just(Step::Write),
        8 => Just(Step::Read),
        1 => Just(Step::Lose),
        8 => Just(Step::Hear),
        3 => Just(Step::TimePasses),
        1 => Just(Step::LoseConnection),
        4 => Just(Step::ReadTail),
        1 => Just(Step::Restart),
    ]
}

struct Frame {
    number: u64,
    sequence: u64,
    operation: Operation,
    /// The message with what the stream recognises it by; `None` for an end.
    message: Option<(u64, Option<Box<str>>)>,
}

type Answers = VecDeque<(u64, u64, Word)>;

#[derive(Default)]
struct Server {
    /// The last sequence of each open batch.
    batches: BTreeMap<u64, u64>,
    seen: HashSet<Box<str>>,
    stored: Vec<u64>,
}

impl Server {
    fn read(&mut self, frame: Frame, answers: &mut Answers) {
        let Frame { number, sequence, operation, message } = frame;
        let mut answer = |word| answers.push_back((number, sequence, word));
        if sequence == 1 {
            self.batches.entry(number).or_insert(0);
        }
        let Some(last) = self.batches.get_mut(&number) else { return answer(unknown_batch()) };
        let ended = |count| Word::Ended { count, at: None, duplicate: false };
        if sequence != *last + 1 || operation == Operation::End {
            let count = *last;
            self.batches.remove(&number);
            return answer(ended(count));
        }
        *last = sequence;
        if operation == Operation::Start {
            answer(Word::Flow(0));
        }
        if let Some((id, message_id)) = message
            && message_id.is_none_or(|message_id| self.seen.insert(message_id))
        {
            self.stored.push(id);
        }
        if operation == Operation::Commit {
            self.batches.remove(&number);
            answer(ended(sequence));
        } else if sequence.is_multiple_of(FLOW) {
            answer(Word::Flow(sequence));
        }
    }
}

struct World {
    fast: Fast,
    /// How far the clock is ahead.
    passed: Duration,
    published: u64,
    queue: VecDeque<Message>,
    wire: VecDeque<Frame>,
    tail: VecDeque<Frame>,
    answers: Answers,
    /// Of old connections: nobody gets these.
    lost_answers: Answers,
    server: Server,
    verdicts: BTreeMap<u64, Result<Stored, Error>>,
}

impl World {
    fn new() -> Self {
        Self {
            fast: fast(),
            passed: Duration::ZERO,
            published: 0,
            queue: VecDeque::new(),
            wire: VecDeque::new(),
            tail: VecDeque::new(),
            answers: Answers::new(),
            lost_answers: Answers::new(),
            server: Server::default(),
            verdicts: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        let mut outcome = Outcome::default();
        match step {
            Step::Publish { awaited } => {
                self.published += 1;
                self.queue.push_back(Message { awaited, ..message(self.published) });
            }
            Step::Write => self.write(&mut outcome),
            Step::TimePasses => {
                self.passed += START_PATIENCE + PATIENCE;
                self.write(&mut outcome);
            }
            Step::Read => {
                if let Some(frame) = self.wire.pop_front() {
                    self.server.read(frame, &mut self.answers);
                }
            }
            Step::Lose => _ = self.wire.pop_front(),
            Step::Hear => {
                if let Some((number, sequence, word)) = self.answers.pop_front() {
                    self.fast.hear(number, sequence, word, &mut outcome);
                }
            }
            Step::LoseConnection => {
                self.tail.append(&mut self.wire);
                self.answers.clear();
                self.fast.connection_lost(&mut outcome);
            }
            Step::ReadTail => {
                if let Some(frame) = self.tail.pop_front() {
                    self.server.read(frame, &mut self.lost_answers);
                }
            }
            Step::Restart => self.server.batches.clear(),
        }
        for (id, verdict) in outcome.verdicts {
            let again = self.verdicts.insert(id.to_u64(), verdict);
            assert!(again.is_none(), "two verdicts for {id:?}");
        }
        // The engine sends again, in order, what was handed back.
        outcome.again.extend(outcome.stuck);
        outcome.again.append(&mut self.queue);
        self.queue = outcome.again;
    }

    fn write(&mut self, outcome: &mut Outcome) {
        let now = Instant::now() + self.passed;
        let mut frame = |to, message| match to {
            To::Batch { number, sequence, operation, .. } => {
                self.wire.push_back(Frame { number, sequence, operation, message });
            }
            To::Ring(_) => panic!("not of a batch"),
        };
        while let Some(message) = self.queue.pop_front() {
            let id = message.id.to_u64();
            match self.fast.admit(message, self.queue.len(), now) {
                Admission::Batch(to, written) => frame(to, Some((id, written.message_id))),
                Admission::Held => {}
                Admission::Ring(_) => panic!("not in a batch"),
            }
        }
        for (to, _) in self.fast.act(now, false, |_| true, outcome) {
            frame(to, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn batches_keep_their_promises(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        // All is well from now on, but for what is left of old connections.
        for _ in 0..40 {
            world.take(Step::TimePasses);
            while !world.wire.is_empty() || !world.answers.is_empty() {
                world.take(Step::Read);
                world.take(Step::Hear);
            }
        }
        while !world.tail.is_empty() {
            world.take(Step::ReadTail);
        }
        let stored = &world.server.stored;
        prop_assert!(stored.is_sorted_by(|a, b| a < b), "out of order or twice: {stored:?}");
        prop_assert_eq!(world.verdicts.len() as u64, world.published, "some have no verdict");
        for (id, verdict) in &world.verdicts {
            match verdict {
                Ok(_) => prop_assert!(stored.contains(id), "{id} is acknowledged and not stored"),
                Err(error) => prop_assert!(error.is_ambiguous(), "{id}: {error}"),
            }
        }
    }
}
