//! What a seed stands for: a sequence of rounds, the same each time.

use std::{collections::HashMap, time::Duration};

use eventbus_conformance::workload::Mode;

use super::{Nemesis, Strike, place::Place, round::Round};

/// What is drawn from. Atomic batches take turns, because not every place has them.
const MODES: [Mode; 4] = [Mode::Detached, Mode::Receipt, Mode::Sync, Mode::Batch];
/// Of a place that has atomic batches, one round in so many is made of them.
const ATOMIC: usize = 4;

/// Draws rounds. The rounds are a function of the seed and the places; what happens inside them
/// depends on the clock as well.
pub(crate) struct Plan {
    random: fastrand::Rng,
    places: Vec<Place>,
    /// Of each place, the nemeses that have not had their turn.
    left: HashMap<Place, Vec<Nemesis>>,
    next: usize,
}

impl Plan {
    pub(crate) fn new(seed: u64, places: Vec<Place>) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, places, left: HashMap::new(), next: 0 }
    }

    /// The place and the nemesis take turns, so that each combination comes up; the rest is
    /// drawn.
    fn draw(&mut self) -> Option<Round> {
        let places = self.places.len().max(1);
        let (turn, place) = (self.next / places, *self.places.get(self.next % places)?);
        self.next += 1;
        let left = self.left.entry(place).or_default();
        if left.is_empty() {
            left.extend(place.nemeses());
            self.random.shuffle(left);
        }
        let main = left.pop()?;
        let mut round = round(&mut self.random, place, main);
        if place.has_atomic_batches() && turn % ATOMIC == ATOMIC / 2 {
            round.mode = Mode::Atomic;
        }
        Some(round)
    }
}

impl Iterator for Plan {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        self.draw()
    }
}

/// A round whose main nemesis is given; another one may go along with it.
pub(crate) fn round(random: &mut fastrand::Rng, place: Place, main: Nemesis) -> Round {
    let mode = random.choice(MODES).unwrap_or(Mode::Receipt);
    let mut strikes = Vec::new();
    let along: Vec<_> = place.nemeses().iter().filter(|n| n.goes_along() && **n != main).collect();
    if random.u8(..3) == 0
        && let Some(nemesis) = random.choice(along)
    {
        strikes.push(strike(random, *nemesis));
    }
    strikes.push(strike(random, main));
    let members = random.usize(1..=2);
    let per_key = random.bool();
    let retry = if random.bool() { Duration::from_secs(20) } else { Duration::ZERO };
    Round { place, mode, strikes, members, per_key, retry }
}

fn strike(random: &mut fastrand::Rng, nemesis: Nemesis) -> Strike {
    let longest = match nemesis {
        Nemesis::TopicDeleted | Nemesis::MemberKilled | Nemesis::RollingRestart => 200,
        _ => 4000,
    };
    let hold = Duration::from_millis(random.u64(100..=longest));
    Strike { nemesis, target: random.usize(..3), hold }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, count: usize) -> Vec<Round> {
        Plan::new(seed, vec![Place::Nats, Place::Memory]).take(count).collect()
    }

    #[test]
    fn a_seed_is_replayable() {
        assert_eq!(plan(7, 12), plan(7, 12));
        assert_ne!(plan(7, 12), plan(8, 12));
    }

    #[test]
    fn each_nemesis_has_its_turn() {
        let turns = Place::Nats.nemeses().len();
        let rounds = plan(1, 4 * turns);
        for nemesis in Place::Nats.nemeses() {
            let its = |round: &&Round| round.place == Place::Nats && round.nemesis() == *nemesis;
            assert_eq!(rounds.iter().filter(its).count(), 2, "{nemesis}");
        }
    }

    #[test]
    fn atomic_batches_have_their_turn_where_there_are_any() {
        let rounds: Vec<_> = Plan::new(1, Place::ALL.to_vec()).take(8 * Place::ALL.len()).collect();
        for place in Place::ALL {
            let its = |round: &&Round| round.place == *place && round.mode == Mode::Atomic;
            let expected = if place.has_atomic_batches() { 2 } else { 0 };
            assert_eq!(rounds.iter().filter(its).count(), expected, "{place}");
        }
    }
}
