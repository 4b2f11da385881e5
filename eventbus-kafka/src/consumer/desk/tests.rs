use bytes::Bytes;
use eventbus_core::Topic;

use super::*;
use crate::consumer::offsets::Progress;

struct Bench {
    desk: Desk,
    partition: PartitionId,
    now: Instant,
}

fn bench(options: &SubscribeOptions) -> Bench {
    let mut desk = Desk::new(options);
    desk.partitions.commits = true;
    let partition = desk.partitions.add(Topic::from_static("a.b"), 3, Some(0), Progress::default());
    Bench { desk, partition, now: Instant::now() }
}

impl Bench {
    fn push(&mut self, messages: &[(i64, Option<u64>)]) {
        let partition = self.partition;
        let message = |&(offset, key): &(i64, Option<u64>)| Message {
            partition,
            offset,
            key,
            raw: None,
            bytes: Bytes::from_static(b"0123456789"),
            published_at: 1,
            attempt: 1,
            expired_before: false,
        };
        self.desk.push(&mut messages.iter().map(message).collect());
    }

    /// What can be handed out now: offset and attempt, with the token.
    fn take(&mut self) -> Vec<(u64, u32, Token)> {
        let mut taken = Vec::new();
        while let Some(item) = self.desk.next(self.now) {
            let incoming = item.unwrap();
            taken.push((incoming.offset, incoming.attempt, incoming.token));
        }
        taken
    }

    fn offsets(&mut self) -> Vec<(u64, u32)> {
        self.take().into_iter().map(|(offset, attempt, _)| (offset, attempt)).collect()
    }

    fn settle(&mut self, token: Token, settlement: Settlement) -> bool {
        !matches!(self.desk.settle(token, settlement).0, Settled::Expired)
    }

    fn committed(&mut self) -> i64 {
        self.desk.commits(|_, _| true)[0].commit.offset
    }
}

fn options() -> SubscribeOptions {
    SubscribeOptions::group("g").max_in_flight(3).ack_wait(Duration::from_secs(10))
}

#[test]
fn at_most_max_in_flight_are_handed_out() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None), (2, None), (3, None)]);
    let taken = bench.take();
    assert_eq!(taken.len(), 3);
    assert!(bench.desk.stalled().is_some());
    assert!(bench.settle(taken[1].2, Settlement::Ack));
    assert_eq!(bench.offsets(), [(3, 1)]);
    assert!(!bench.settle(taken[1].2, Settlement::Ack), "settled already");
}

#[test]
fn nack_redelivers_after_the_delay_with_the_next_attempt() {
    let mut bench = bench(&options());
    bench.push(&[(0, None)]);
    let token = bench.take()[0].2;
    assert!(bench.settle(token, Settlement::Nack(Duration::from_secs(5))));
    let due = bench.desk.tick(bench.now).unwrap();
    assert!(due > bench.now + Duration::from_secs(4));
    assert_eq!(bench.offsets(), []);
    bench.now += Duration::from_secs(6);
    bench.desk.tick(bench.now);
    assert_eq!(bench.offsets(), [(0, 2)]);
    assert!(!bench.settle(token, Settlement::Ack), "another attempt has it");
}

#[test]
fn unsettled_deliveries_expire_and_extended_ones_later() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let taken = bench.take();
    assert!(bench.settle(taken[0].2, Settlement::Extend));
    bench.now += Duration::from_secs(10);
    // Extending takes the real time, which has hardly passed.
    assert!(bench.desk.tick(bench.now).is_some());
    let again = bench.desk.next(bench.now).unwrap().unwrap();
    assert_eq!((again.offset, again.attempt, again.expired_before), (1, 2, true));
    bench.now += Duration::from_secs(1);
    bench.desk.tick(bench.now);
    assert_eq!(bench.offsets(), [(0, 2)]);
}

#[test]
fn one_message_of_a_key_at_a_time_across_nack() {
    let mut bench = bench(&options().ordering(Ordering::PerKey));
    bench.push(&[(0, Some(7)), (1, Some(7)), (2, Some(8)), (3, Some(7)), (4, None)]);
    let taken = bench.take();
    assert_eq!(taken.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 2, 4]);
    assert!(bench.settle(taken[1].2, Settlement::Ack));
    assert!(bench.settle(taken[0].2, Settlement::Nack(Duration::ZERO)));
    let taken = bench.take();
    assert_eq!((taken.len(), taken[0].0, taken[0].1), (1, 0, 2));
    assert!(bench.settle(taken[0].2, Settlement::Ack));
    let taken = bench.take();
    assert_eq!((taken.len(), taken[0].0), (1, 1));
    assert!(bench.settle(taken[0].2, Settlement::Discard));
    assert_eq!(bench.offsets(), [(3, 1)]);
}

#[test]
fn lost_partition_takes_its_messages_along_and_frees_their_keys() {
    let mut bench = bench(&options().ordering(Ordering::PerKey).max_in_flight(10));
    let other =
        bench.desk.partitions.add(Topic::from_static("a.b"), 4, Some(0), Progress::default());
    bench.push(&[(0, Some(7)), (1, Some(7)), (2, Some(8)), (3, Some(9))]);
    let lost = bench.partition;
    bench.partition = other;
    bench.push(&[(0, Some(7)), (1, Some(9))]);
    let taken = bench.take();
    assert_eq!(taken.len(), 3);
    assert!(bench.settle(taken[1].2, Settlement::Nack(Duration::from_secs(60))));
    bench.desk.remove(lost);
    assert_eq!(bench.offsets(), [(0, 1), (1, 1)]);
    assert!(!bench.settle(taken[0].2, Settlement::Ack), "it belongs to another member");
    assert_eq!(bench.desk.bytes, 20);
}

#[test]
fn what_is_left_of_a_topic_that_was_made_anew_settles_nothing_in_it() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let old = bench.take();
    bench.desk.restart_at(bench.partition, 0);
    bench.push(&[(0, None)]);
    assert!(!bench.settle(old[0].2, Settlement::Ack), "it is another message by now");
    assert_eq!(bench.committed(), 0);
    assert_eq!(bench.offsets(), [(0, 1)]);
}

#[test]
fn stopped_source_hands_nothing_out_and_takes_settlements() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let token = bench.desk.next(bench.now).unwrap().unwrap().token;
    bench.desk.stop();
    assert!(!bench.desk.is_drained());
    assert!(bench.settle(token, Settlement::Ack));
    assert!(bench.desk.is_drained());
    assert_eq!(bench.committed(), 1);
}

#[test]
fn stopped_source_does_not_wait_for_what_was_dropped() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None), (2, None)]);
    let taken = bench.take();
    assert!(!bench.desk.abandon(taken[0].2), "its time is not over");
    assert!(bench.settle(taken[1].2, Settlement::Ack));
    bench.desk.stop();
    assert!(!bench.desk.is_drained(), "one can still be settled");
    assert!(bench.desk.abandon(taken[2].2), "the thread is told that it was the last");
    assert!(bench.desk.is_drained());
    assert_eq!(bench.committed(), 0, "the first comes again");
    bench.desk.close();
    assert_eq!(bench.desk.bytes, 0);
}

#[test]
fn fetching_pauses_and_goes_on() {
    let mut bench = bench(&options());
    let room = bench.desk.room();
    let messages: Vec<_> = (0..room as i64).map(|offset| (offset, None)).collect();
    bench.push(&messages);
    assert_eq!(bench.desk.room(), 0);
    let mut woken = 0;
    while bench.desk.room() == 0 {
        for (_, _, token) in bench.take() {
            woken += u32::from(bench.desk.settle(token, Settlement::Ack).1);
        }
    }
    assert!(woken > 0, "the thread is woken when there is room");
}

#[test]
fn confirmation_waits_for_a_commit_that_has_it() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let taken = bench.take();
    let earlier = bench.desk.commits(|_, _| true).remove(0);
    let (settled, wake) = bench.desk.settle(taken[1].2, Settlement::AckConfirmed);
    let Settled::Confirming(partition, offset) = settled else { panic!("not confirming") };
    assert!(wake);
    let mut confirmation = bench.desk.partitions.confirmation(partition, offset);
    bench.desk.partitions.committed(earlier, true);
    assert!(confirmation.try_recv().is_err(), "an earlier commit does not have it");
    let failed = bench.desk.commits(|_, _| true).remove(0);
    bench.desk.partitions.committed(failed, false);
    assert!(confirmation.try_recv().is_err(), "the commit failed");
    let stored = bench.desk.commits(|_, _| true).remove(0);
    bench.desk.partitions.committed(stored, true);
    confirmation.try_recv().unwrap().unwrap();
}

/// It may fail after the partition has gone, when nobody can try again.
#[test]
fn a_partition_that_goes_is_committed_once_more_while_a_commit_has_no_answer() {
    let mut bench = bench(&options());
    bench.push(&[(0, None)]);
    let token = bench.take()[0].2;
    assert!(bench.settle(token, Settlement::Ack));
    let on_its_way = bench.desk.commits(|_, _| true).remove(0);
    assert_eq!(on_its_way.commit.offset, 1);
    let again = bench.desk.commits(|_, _| true).remove(0);
    assert_eq!(again.commit, on_its_way.commit);
    bench.desk.partitions.committed(on_its_way, true);
    bench.desk.partitions.committed(again, true);
    assert!(bench.desk.commits(|_, _| true).is_empty());
}

/// Its broker may answer to the last commit only after the thread of the consumer has ended.
#[test]
fn a_confirmation_that_outlives_the_source_is_ambiguous() {
    let mut bench = bench(&options());
    bench.push(&[(0, None)]);
    let token = bench.take()[0].2;
    let (Settled::Confirming(partition, offset), _) =
        bench.desk.settle(token, Settlement::AckConfirmed)
    else {
        panic!("not confirming")
    };
    let mut confirmation = bench.desk.partitions.confirmation(partition, offset);
    let on_its_way = bench.desk.commits(|_, _| true).remove(0);
    bench.desk.end();
    assert!(confirmation.try_recv().is_err(), "it may still be confirmed");
    bench.desk.partitions.committed(on_its_way, false);
    assert!(confirmation.try_recv().unwrap().unwrap_err().is_ambiguous());
}

/// The commit may have arrived, so nobody may say that the message comes again.
#[test]
fn a_confirmation_whose_partition_moves_is_ambiguous() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let taken = bench.take();
    let mut confirm = |token| {
        let (settled, _) = bench.desk.settle(token, Settlement::AckConfirmed);
        let Settled::Confirming(partition, offset) = settled else { panic!("not confirming") };
        (partition, bench.desk.partitions.confirmation(partition, offset))
    };
    let (partition, mut on_its_way) = confirm(taken[0].2);
    let (_, mut waiting) = confirm(taken[1].2);
    let commit = bench.desk.commits(|_, _| true).remove(0);
    bench.desk.remove(partition);
    bench.desk.partitions.committed(commit, true);
    for confirmation in [&mut on_its_way, &mut waiting] {
        let error = confirmation.try_recv().unwrap().unwrap_err();
        assert!(error.is_ambiguous(), "{error}");
    }
}

#[test]
fn what_is_handed_out_counts_as_an_attempt() {
    let mut bench = bench(&options());
    bench.push(&[(0, None), (1, None)]);
    let incoming = bench.desk.next(bench.now).unwrap().unwrap();
    assert_eq!(incoming.offset, 0);
    assert!(bench.desk.partitions.is_dirty());
    let commit = bench.desk.commits(|_, _| true).remove(0).commit;
    let progress = Progress::decode(&commit.text.text, commit.offset).unwrap();
    assert_eq!(progress.attempts, [(0, 2)]);
    assert!(!bench.desk.partitions.is_dirty());
}

#[test]
fn what_is_nacked_for_ever_keeps_no_other_back() {
    let mut bench = bench(&options().max_in_flight(1));
    bench.push(&(0..20).map(|offset| (offset, None)).collect::<Vec<_>>());
    let (mut others, mut turns) = (Vec::new(), 0);
    while others.len() < 19 {
        turns += 1;
        assert!(turns < 1000, "only {others:?} came");
        let (offset, _, token) = bench.take().remove(0);
        if offset == 0 {
            assert!(bench.settle(token, Settlement::Nack(Duration::ZERO)));
        } else {
            others.push(offset);
            assert!(bench.settle(token, Settlement::Ack));
        }
    }
    assert!(others.is_sorted());
}
