//! Random histories of a group against a model of what it promises: nothing lost, nothing
//! delivered twice without cause, order per key, limits kept, and whoever waits is woken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use eventbus_core::{
    Ordering, Provision, SubscribeOptions, Topic, TopicFilter,
    backend::{Incoming, Settlement, Settler, Source, Token},
};
use proptest::prelude::*;

use crate::{
    MemorySource,
    broker::Broker,
    config::Place,
    group::{GiveBack, now},
    key::hash_key,
    settle::Membership,
};

const ACK_WAIT: Duration = Duration::from_millis(100);
const FILTER: TopicFilter = TopicFilter::from_static("model.*");
const TOPICS: [Topic; 2] = [Topic::from_static("model.a"), Topic::from_static("model.b")];

#[derive(Debug, Clone)]
enum Step {
    Publish { topic: usize, key: usize },
    Join { limit: usize },
    Poll { member: usize },
    Settle { held: usize, how: How },
    Advance { millis: u64 },
    Leave { member: usize },
    Close { member: usize, counted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Ack,
    Nack(u64),
    Extend,
    Discard,
    Abandon,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        4 => Just(How::Ack),
        2 => prop_oneof![Just(0), Just(30), Just(500)].prop_map(How::Nack),
        1 => Just(How::Extend),
        1 => Just(How::Discard),
        1 => Just(How::Abandon),
    ];
    let step = prop_oneof![
        6 => (0..2_usize, 0..4_usize).prop_map(|(topic, key)| Step::Publish { topic, key }),
        1 => (1..4_usize).prop_map(|limit| Step::Join { limit }),
        8 => (0..4_usize).prop_map(|member| Step::Poll { member }),
        6 => (0..8_usize, how).prop_map(|(held, how)| Step::Settle { held, how }),
        2 => prop_oneof![Just(1), Just(40), Just(150)].prop_map(|millis| Step::Advance { millis }),
        1 => (0..4_usize).prop_map(|member| Step::Leave { member }),
        1 => (0..4_usize, any::<bool>())
            .prop_map(|(member, counted)| Step::Close { member, counted }),
    ];
    proptest::collection::vec(step, 0..150)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fresh,
    Held { member: usize, until: Instant },
    Waiting { due: Instant },
    Done,
}

struct Message {
    topic: Topic,
    offset: u64,
    key: usize,
    attempt: u32,
    expired_before: bool,
    fate: Fate,
}

struct Member {
    source: Option<MemorySource>,
    membership: Arc<Membership>,
    limit: usize,
    /// Its last poll had nothing for it.
    parked: bool,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

struct Model {
    broker: Arc<Broker>,
    options: SubscribeOptions,
    members: Vec<Member>,
    messages: Vec<Message>,
    /// What the application holds: message and token.
    held: Vec<(usize, Token)>,
}

impl Model {
    fn new(ordering: Ordering) -> Self {
        let broker = Broker::at(Place::default()).unwrap();
        let options = SubscribeOptions::group("model").ack_wait(ACK_WAIT).ordering(ordering);
        let mut model =
            Self { broker, options, members: Vec::new(), messages: Vec::new(), held: Vec::new() };
        model.join(2);
        model
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Publish { topic, key } => self.publish(TOPICS[topic].clone(), key),
            Step::Join { limit } => self.join(limit),
            Step::Poll { member } => {
                let count = self.members.len();
                self.poll(member % count);
            }
            Step::Settle { held, how } => {
                if !self.held.is_empty() {
                    let (message, token) = self.held.remove(held % self.held.len());
                    self.settle(message, token, how);
                }
            }
            Step::Advance { millis } => tokio::time::advance(Duration::from_millis(millis)).await,
            Step::Leave { member } => {
                let count = self.members.len();
                self.leave(member % count);
            }
            Step::Close { member, counted } => {
                let count = self.members.len();
                self.close(member % count, counted);
            }
        }
        self.expire();
        self.check_limits();
        self.check_wakes();
    }

    fn publish(&mut self, topic: Topic, key: usize) {
        let text = key.to_string();
        let key_hash = hash_key((key > 0).then_some(&text));
        let log = self.broker.find_or_create(&topic);
        let offset = log.append(b"message".as_slice().into(), key_hash, None).offset;
        let fate = Fate::Fresh;
        self.messages.push(Message { topic, offset, key, attempt: 1, expired_before: false, fate });
    }

    fn join(&mut self, limit: usize) {
        let options = self.options.clone().max_in_flight(limit);
        let (group, member) = self.broker.subscribe(&FILTER, &options, Provision::Create).unwrap();
        let membership = Arc::new(Membership::new(group, member));
        let source = Some(MemorySource::new(membership.clone()));
        let woken = Arc::default();
        self.members.push(Member { source, membership, limit, parked: false, woken });
    }

    fn poll(&mut self, member: usize) {
        let woken = self.members[member].woken.clone();
        let Some(source) = &mut self.members[member].source else { return };
        let waker = Waker::from(woken.clone());
        let mut polled = Poll::Pending;
        // A source may let others run before it looks again, once.
        for _ in 0..2 {
            woken.0.store(false, SeqCst);
            polled = source.poll_next(&mut Context::from_waker(&waker));
            if polled.is_ready() || !woken.0.load(SeqCst) {
                break;
            }
        }
        self.members[member].parked = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(incoming))) => self.delivered(member, &incoming),
            Poll::Ready(other) => panic!("unexpected {other:?}"),
            Poll::Pending => {
                let room = self.held_by(member) < self.members[member].limit;
                assert!(!room || !self.any_deliverable(), "something was kept back");
            }
        }
    }

    fn delivered(&mut self, member: usize, incoming: &Incoming) {
        let matches = |m: &Message| m.topic == incoming.topic && m.offset == incoming.offset;
        let at = self.messages.iter().position(matches).unwrap();
        assert!(self.is_deliverable(at), "delivered without cause: {incoming:?}");
        let until = now() + ACK_WAIT;
        let message = &mut self.messages[at];
        assert_eq!(incoming.attempt, message.attempt);
        assert_eq!(incoming.expired_before, message.expired_before);
        assert_eq!(incoming.expires, until);
        message.fate = Fate::Held { member, until };
        self.held.push((at, incoming.token));
    }

    fn settle(&mut self, message: usize, token: Token, how: How) {
        let Fate::Held { member, .. } = self.messages[message].fate else { unreachable!() };
        let membership = self.members[member].membership.clone();
        let settlement = match how {
            How::Ack => Settlement::Ack,
            How::Nack(millis) => Settlement::Nack(Duration::from_millis(millis)),
            How::Extend => Settlement::Extend,
            How::Discard => Settlement::Discard,
            How::Abandon => return membership.abandon(token),
        };
        membership.group.settle(token.0, settlement).unwrap();
        let message_now = &mut self.messages[message];
        match how {
            How::Nack(millis) => {
                message_now.attempt += 1;
                message_now.expired_before = false;
                message_now.fate = Fate::Waiting { due: now() + Duration::from_millis(millis) };
            }
            How::Extend => {
                message_now.fate = Fate::Held { member, until: now() + ACK_WAIT };
                self.held.push((message, token));
                return;
            }
            _ => message_now.fate = Fate::Done,
        }
        let again = membership.group.settle(token.0, Settlement::Ack);
        assert!(again.is_err(), "settled twice");
    }

    fn leave(&mut self, member: usize) {
        self.members[member].source = None;
        self.members[member].parked = false;
    }

    fn close(&mut self, member: usize, counted: bool) {
        self.leave(member);
        let how = if counted { GiveBack::Counted } else { GiveBack::Uncounted };
        self.members[member].membership.close(how);
        for message in &mut self.messages {
            if matches!(message.fate, Fate::Held { member: holder, .. } if holder == member) {
                message.fate = Fate::Waiting { due: now() };
                if counted {
                    message.attempt += 1;
                    message.expired_before = false;
                }
            }
        }
        let messages = &self.messages;
        self.held.retain(|(message, _)| matches!(messages[*message].fate, Fate::Held { .. }));
    }

    /// What ran out of time by now is not the application's any more.
    fn expire(&mut self) {
        for message in &mut self.messages {
            if let Fate::Held { member, until } = message.fate
                && until <= now()
            {
                message.fate = Fate::Waiting { due: until };
                message.attempt += 1;
                message.expired_before = self.members[member].source.is_some();
            }
        }
        let messages = &self.messages;
        let members = &self.members;
        self.held.retain(|(message, token)| {
            let held = matches!(messages[*message].fate, Fate::Held { .. });
            if !held {
                let settled = members[0].membership.group.settle(token.0, Settlement::Ack);
                assert!(settled.is_err(), "settled after its time");
            }
            held
        });
    }

    fn held_by(&self, member: usize) -> usize {
        let by_it = |m: &&Message| matches!(m.fate, Fate::Held { member: by, .. } if by == member);
        self.messages.iter().filter(by_it).count()
    }

    fn is_deliverable(&self, at: usize) -> bool {
        let message = &self.messages[at];
        match message.fate {
            Fate::Done => false,
            Fate::Held { until, .. } => until <= now(),
            Fate::Waiting { due } => due <= now(),
            Fate::Fresh if self.options.ordering == Ordering::PerKey && message.key > 0 => {
                let before = |m: &Message| m.topic == message.topic && m.key == message.key;
                self.messages[..at].iter().all(|m| !before(m) || m.fate == Fate::Done)
            }
            Fate::Fresh => true,
        }
    }

    fn any_deliverable(&self) -> bool {
        (0..self.messages.len()).any(|at| self.is_deliverable(at))
    }

    fn check_limits(&self) {
        for (at, member) in self.members.iter().enumerate() {
            assert!(self.held_by(at) <= member.limit, "more in flight than allowed");
        }
    }

    /// If there is something to be had and somebody with room waits, one of those was woken.
    fn check_wakes(&self) {
        let waits = |(at, m): &(usize, &Member)| m.parked && self.held_by(*at) < m.limit;
        let mut waiting = self.members.iter().enumerate().filter(waits).peekable();
        if self.any_deliverable() && waiting.peek().is_some() {
            assert!(waiting.any(|(_, m)| m.woken.0.load(SeqCst)), "nobody was woken");
        }
    }

    /// A last member acknowledges everything: nothing may be missing.
    async fn drain(&mut self) {
        self.join(3);
        let last = self.members.len() - 1;
        for _ in 0..10_000 {
            if self.messages.iter().all(|message| message.fate == Fate::Done) {
                break;
            }
            self.run(Step::Poll { member: last }).await;
            while let Some((message, token)) = self.held.pop() {
                self.settle(message, token, How::Ack);
            }
            if self.members[last].parked {
                self.run(Step::Advance { millis: 50 }).await;
            }
        }
        let undone = self.messages.iter().filter(|message| message.fate != Fate::Done).count();
        assert_eq!(undone, 0, "messages are lost");
        assert_eq!(self.held_by(last), 0);
    }
}

fn check(ordering: Ordering, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // Not cooperative: a poll that says "not now" only to let others run is none of the model's.
    runtime.block_on(tokio::task::unconstrained(async {
        let mut model = Model::new(ordering);
        for step in steps {
            model.run(step).await;
        }
        model.drain().await;
    }));
}

#[tokio::test(start_paused = true)]
async fn one_message_does_not_wake_everybody_but_always_somebody() {
    let mut model = Model::new(Ordering::Unordered);
    for _ in 0..20 {
        model.join(1);
    }
    for member in 0..model.members.len() {
        model.run(Step::Poll { member }).await;
    }
    let woken = |model: &Model| model.members.iter().filter(|m| m.woken.0.load(SeqCst)).count();
    assert_eq!(woken(&model), 0);
    model.run(Step::Publish { topic: 0, key: 0 }).await;
    assert!((1..=2).contains(&woken(&model)), "{} are woken", woken(&model));
    // They leave without having taken it: after each step the model wants somebody awake.
    for member in 0..model.members.len() - 1 {
        model.run(Step::Leave { member }).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn unordered_groups_keep_their_promises(steps in steps()) {
        check(Ordering::Unordered, steps);
    }

    #[test]
    fn ordered_groups_keep_their_promises(steps in steps()) {
        check(Ordering::PerKey, steps);
    }
}
