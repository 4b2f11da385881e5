//! The messages: payloads that carry what the consumer checks and measures by.

use std::time::Instant;

use bytes::Bytes;
use eventbus_core::Envelope;

use crate::Load;

/// The bytes that a stamp takes.
pub(crate) const STAMP_BYTES: usize = 32;

/// What a payload starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The run that made it: a topic may hold messages of others.
    pub(crate) run: u64,
    /// Its place among all messages of the run, from 0.
    pub(crate) sequence: u64,
    /// The publisher and key within which order is promised.
    pub(crate) lane: u64,
    /// When it was made, in nanoseconds since the origin of the run; 0 where nobody wants to know,
    /// because looking at the clock would be seen in the rate.
    pub(crate) nanos: u64,
}

impl Stamp {
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            let bytes = payload.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Self { run: field(0)?, sequence: field(1)?, lane: field(2)?, nanos: field(3)? })
    }

    fn write(self, payload: &mut [u8]) {
        let fields = [self.run, self.sequence, self.lane, self.nanos];
        for (field, bytes) in fields.into_iter().zip(payload.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
    }
}

/// What the messages of a run have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) run: u64,
    pub(crate) started: Instant,
}

impl Origin {
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The messages of one publisher, in order.
#[derive(Debug)]
pub(crate) struct Messages {
    origin: Origin,
    publisher: u64,
    publishers: u64,
    keys: Vec<String>,
    topics: u64,
    template: Vec<u8>,
    timed: bool,
    /// How many of its own messages it has made, and will make.
    made: u64,
    total: u64,
}

impl Messages {
    pub(crate) fn new(load: &Load, origin: Origin, publisher: u32) -> Self {
        let (publisher, publishers) = (u64::from(publisher), u64::from(load.publishers));
        Self {
            origin,
            publisher,
            publishers,
            keys: (0..load.keys).map(|key| format!("key-{key}")).collect(),
            topics: u64::from(load.topics),
            template: filler(load.size),
            timed: load.end_to_end,
            made: 0,
            total: share(load.messages, publishers, publisher),
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

impl Iterator for Messages {
    /// An envelope, and which of the topics it is for.
    type Item = (usize, Envelope);

    fn next(&mut self) -> Option<Self::Item> {
        if self.made == self.total {
            return None;
        }
        let key = match self.keys.len() {
            0 => 0,
            keys => self.made % keys as u64,
        };
        let stamp = Stamp {
            run: self.origin.run,
            sequence: self.made * self.publishers + self.publisher,
            lane: self.publisher * (self.keys.len() as u64).max(1) + key,
            nanos: if self.timed { self.origin.nanos() } else { 0 },
        };
        let topic = topic_of(self.made, self.keys.len() as u64, self.topics);
        self.made += 1;
        let mut payload = self.template.clone();
        if payload.len() >= STAMP_BYTES {
            stamp.write(&mut payload);
        }
        let envelope = Envelope::new("bench.message", Bytes::from(payload));
        let envelope = match self.keys.get(key as usize) {
            Some(key) => envelope.key(key),
            None => envelope,
        };
        Some((topic, envelope))
    }
}

/// Which of the topics the `n`th message of a publisher is for. All of a key go to the same
/// topic, since order is promised in a topic.
pub(crate) fn topic_of(n: u64, keys: u64, topics: u64) -> usize {
    let key = if keys == 0 { n } else { n % keys };
    (key % topics) as usize
}

/// A message of `load` as the bus would send it, for clients that send the same bytes.
#[cfg(any(feature = "nats", feature = "kafka"))]
pub(crate) fn encoded(load: &Load) -> Bytes {
    let origin = Origin { run: 0, started: Instant::now() };
    Messages::new(load, origin, 0)
        .next()
        .map_or_else(Bytes::new, |(_, envelope)| envelope.to_bytes())
}

/// How many of `messages` the publisher number `publisher` makes.
fn share(messages: u64, publishers: u64, publisher: u64) -> u64 {
    messages / publishers + u64::from(publisher < messages % publishers)
}

/// The last sequence number of each lane; `None` for lanes without messages.
pub(crate) fn last_of_lanes(load: &Load) -> Vec<Option<u64>> {
    let (publishers, keys) = (u64::from(load.publishers), u64::from(load.keys.max(1)));
    (0..publishers * keys)
        .map(|lane| {
            let (publisher, key) = (lane / keys, lane % keys);
            let made = share(load.messages, publishers, publisher);
            let rounds = share(made, keys, key);
            Some(((rounds.checked_sub(1)?) * keys + key) * publishers + publisher)
        })
        .collect()
}

/// Bytes that do not compress well, as real payloads do not compress to nothing.
fn filler(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(size)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    fn stamps(load: &Load) -> Vec<Stamp> {
        let origin = Origin { run: 7, started: Instant::now() };
        (0..load.publishers)
            .flat_map(|publisher| Messages::new(load, origin, publisher))
            .map(|(_, envelope)| Stamp::read(envelope.payload()).unwrap())
            .collect()
    }

    #[test]
    fn publishers_share_the_sequence() {
        let load = Load::new(Mode::Async, 1001, 64).publishers(3).keys(7);
        let mut sequences: Vec<_> = stamps(&load).iter().map(|s| s.sequence).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (0..1001).collect::<Vec<_>>());
    }

    #[test]
    fn last_of_lanes_is_what_is_published() {
        for load in [
            Load::new(Mode::Async, 1001, 64).publishers(3).keys(7),
            Load::new(Mode::Async, 5, 64).publishers(4).keys(3),
            Load::new(Mode::Async, 10, 64).keys(0),
        ] {
            let last = last_of_lanes(&load);
            let mut seen = vec![None; last.len()];
            for stamp in stamps(&load) {
                seen[stamp.lane as usize] = Some(stamp.sequence);
            }
            assert_eq!(seen, last);
        }
    }

    #[test]
    fn all_topics_are_used_and_each_key_is_of_one() {
        for (keys, topics) in [(12, 5), (5, 5), (0, 5), (3, 1)] {
            let load = Load::new(Mode::Async, 100, 64).keys(keys).topics(topics);
            let origin = Origin { run: 7, started: Instant::now() };
            let mut of_topic = vec![std::collections::HashSet::new(); topics as usize];
            for (topic, envelope) in Messages::new(&load, origin, 0) {
                of_topic[topic].insert(envelope.aggregate_id().map(str::to_owned));
            }
            assert!(of_topic.iter().all(|keys| !keys.is_empty()), "{keys} {topics}");
            let pairs: usize = of_topic.iter().map(std::collections::HashSet::len).sum();
            assert_eq!(pairs, if keys > 0 { keys } else { topics } as usize, "{keys} {topics}");
        }
    }

    #[test]
    fn payloads_have_their_size() {
        for size in [0, 1, 31, 32, 33, 256] {
            let load = Load::new(Mode::Async, 1, size);
            let origin = Origin { run: 7, started: Instant::now() };
            let (_, envelope) = Messages::new(&load, origin, 0).next().unwrap();
            assert_eq!(envelope.payload().len(), size);
            assert_eq!(
                Stamp::read(envelope.payload()).is_some_and(|s| s.run == 7),
                size >= STAMP_BYTES
            );
        }
    }
}
