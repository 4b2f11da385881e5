//! What comes again, and when.

use std::time::Duration;

use eventbus_core::{ErrorKind, SubscribeOptions, Topic, dead_letter};
use tokio::time::{Instant, advance};

use crate::support::{connect, next, now, number, publish, subscribe, take};

const TOPIC: Topic = Topic::from_static("redelivery.one");
const DEAD: Topic = Topic::from_static("dead.one");
const ACK_WAIT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_nacked_message_comes_again_after_its_delay() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "redelivery.one", SubscribeOptions::group("g")).await;
    publish(&bus, &TOPIC, 1).await;
    let nacked = Instant::now();
    next(&mut subscription).await.nack(Duration::from_secs(5)).await.unwrap();
    let again = next(&mut subscription).await;
    assert!(nacked.elapsed() >= Duration::from_secs(5));
    assert!(nacked.elapsed() < Duration::from_secs(6));
    assert_eq!((number(&again), again.attempt()), (1, 2));
    again.nack(Duration::ZERO).await.unwrap();
    let again = now(&mut subscription).await.unwrap();
    assert_eq!(again.attempt(), 3);
    again.ack().await.unwrap();
    advance(ACK_WAIT * 2).await;
    assert!(now(&mut subscription).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn redeliveries_come_before_new_messages_but_do_not_keep_them_back() {
    let bus = connect("memory://").await;
    let mut subscription = subscribe(&bus, "redelivery.one", SubscribeOptions::group("g")).await;
    publish(&bus, &TOPIC, 1).await;
    publish(&bus, &TOPIC, 2).await;
    next(&mut subscription).await.nack(Duration::ZERO).await.unwrap();
    let first = next(&mut subscription).await;
    assert_eq!((number(&first), first.attempt()), (1, 2));
    first.nack(Duration::ZERO).await.unwrap();
    // The handler never succeeds with this one and asks for it at once each time.
    for _ in 0..20 {
        let delivery = next(&mut subscription).await;
        if number(&delivery) == 2 {
            return delivery.ack().await.unwrap();
        }
        delivery.nack(Duration::ZERO).await.unwrap();
    }
    panic!("a message that is nacked for ever keeps the others back");
}

#[tokio::test(start_paused = true)]
async fn an_unsettled_message_comes_again_after_ack_wait() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g").ack_wait(ACK_WAIT);
    let mut one = subscribe(&bus, "redelivery.one", options()).await;
    let mut two = subscribe(&bus, "redelivery.one", options()).await;
    publish(&bus, &TOPIC, 1).await;
    let delivered = Instant::now();
    let held = next(&mut one).await;
    let again = next(&mut two).await;
    assert!(delivered.elapsed() >= ACK_WAIT && delivered.elapsed() < ACK_WAIT * 2);
    assert_eq!((number(&again), again.attempt()), (1, 2));
    let late = held.ack().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Expired);
    again.ack().await.unwrap();
    advance(ACK_WAIT * 2).await;
    assert!(now(&mut two).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn settling_too_late_is_an_error_even_if_nobody_has_the_message_yet() {
    let bus = connect("memory://").await;
    let options = SubscribeOptions::group("g").ack_wait(ACK_WAIT);
    let mut subscription = subscribe(&bus, "redelivery.one", options).await;
    publish(&bus, &TOPIC, 1).await;
    let held = next(&mut subscription).await;
    advance(ACK_WAIT).await;
    assert_eq!(held.extend().await.unwrap_err().kind(), ErrorKind::Expired);
    let late = held.nack(Duration::ZERO).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Expired);
    let (_, held) = late.into_parts();
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::Expired);
    assert_eq!(next(&mut subscription).await.attempt(), 2);
}

#[tokio::test(start_paused = true)]
async fn extending_starts_the_wait_anew() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g").ack_wait(ACK_WAIT);
    let mut one = subscribe(&bus, "redelivery.one", options()).await;
    let mut two = subscribe(&bus, "redelivery.one", options()).await;
    publish(&bus, &TOPIC, 1).await;
    let held = next(&mut one).await;
    for _ in 0..5 {
        advance(ACK_WAIT * 2 / 3).await;
        assert!(now(&mut two).await.is_none());
        held.extend().await.unwrap();
    }
    held.ack().await.unwrap();
    advance(ACK_WAIT * 2).await;
    assert!(now(&mut two).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_waiting_member_wakes_for_what_another_nacked() {
    let bus = connect("memory://").await;
    let mut one = subscribe(&bus, "redelivery.one", SubscribeOptions::group("g")).await;
    let mut two = subscribe(&bus, "redelivery.one", SubscribeOptions::group("g")).await;
    publish(&bus, &TOPIC, 1).await;
    let held = next(&mut one).await;
    let waiting = tokio::spawn(async move { next(&mut two).await.attempt() });
    tokio::task::yield_now().await;
    held.nack(Duration::from_secs(2)).await.unwrap();
    // Nobody else reads: the waiting member's own alarm has to be set anew.
    assert_eq!(waiting.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_member_holds_stays_settleable() {
    let bus = connect("memory://").await;
    let options = || SubscribeOptions::group("g").ack_wait(ACK_WAIT);
    let mut one = subscribe(&bus, "redelivery.one", options()).await;
    for number in 0..3 {
        publish(&bus, &TOPIC, number).await;
    }
    let (first, second) = (next(&mut one).await, next(&mut one).await);
    one.stopper().stop();
    assert!(one.next().await.is_none());
    drop(one);
    let mut two = subscribe(&bus, "redelivery.one", options()).await;
    assert_eq!(take(&mut two, 1).await, [2], "what it had not handed out is there at once");
    first.ack().await.unwrap();
    drop(second);
    assert!(now(&mut two).await.is_none());
    let again = next(&mut two).await;
    assert_eq!((number(&again), again.attempt()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_ran_out_of_time_count_for_max_attempts() {
    let bus = connect("memory://").await;
    let mut dead = subscribe(&bus, "dead.one", SubscribeOptions::new()).await;
    let options = SubscribeOptions::group("g").ack_wait(ACK_WAIT).max_attempts(2).dead_letter(DEAD);
    let mut subscription = subscribe(&bus, "redelivery.one", options).await;
    publish(&bus, &TOPIC, 1).await;
    for attempt in 1..=2 {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.attempt(), attempt);
        drop(delivery);
    }
    // The stream has to be read for that.
    let moving = tokio::time::timeout(ACK_WAIT * 2, subscription.next()).await;
    assert!(moving.is_err(), "a third attempt");
    let letter = next(&mut dead).await;
    assert_eq!(letter.envelope().header(dead_letter::REASON), Some(dead_letter::EXHAUSTED));
    assert_eq!(letter.envelope().header(dead_letter::POSITION), Some("memory:redelivery.one:0:0"));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_a_leaving_member_cut_short_do_not_count_for_max_attempts() {
    let bus = connect("memory://").await;
    let options = || {
        let options = SubscribeOptions::group("g").ack_wait(ACK_WAIT);
        options.max_attempts(3).dead_letter(DEAD)
    };
    publish(&bus, &TOPIC, 1).await;
    for attempt in 1..=20 {
        let mut subscription = subscribe(&bus, "redelivery.one", options()).await;
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.attempt(), attempt);
        drop(subscription);
        drop(delivery);
    }
    assert_eq!(bus.stats().dead_lettered, 0);
}
