use std::sync::Arc;

use eventbus::{
    Envelope, EventBusExt, Ordering, SubscribeOptions, Topic,
    memory::testing::{self, Probe},
};

use super::*;

const ORDERS: Topic = Topic::from_static("orders.created");
const DEAD: Topic = Topic::from_static("dead.orders");
const PATIENCE: Duration = Duration::from_secs(30);

struct Setup {
    from: Arc<dyn EventBus>,
    source: Probe,
    to: Arc<dyn EventBus>,
    destination: Probe,
    interrupt: Interrupt,
    tally: Tally,
}

fn group() -> SubscribeOptions {
    SubscribeOptions::group("pipe").ordering(Ordering::PerKey)
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "no leader")
}

impl Setup {
    async fn new(events: u64) -> Self {
        let (from, source) = testing::bus().await;
        let (to, destination) = testing::bus().await;
        for n in 0..events {
            let event = Envelope::new("order.created", n.to_string()).key((n % 3).to_string());
            from.publish_sync(&ORDERS, event.with_header("n", n.to_string())).await.unwrap();
        }
        let interrupt = Interrupt::never();
        Self { from, source, to, destination, interrupt, tally: Tally::default() }
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Vec<Subscription> {
        vec![self.from.subscribe(&ORDERS.filter(), options).await.unwrap()]
    }

    fn copying(&self, count: u64) -> Copying<'_> {
        Copying {
            from: &*self.from,
            to: &*self.to,
            tally: &self.tally,
            interrupt: &self.interrupt,
            window: 8,
            count: Some(count),
            until_idle: None,
            skip_undecodable: false,
            dead_letters: false,
            ending: CancellationToken::new(),
        }
    }

    async fn copy(
        &self,
        copying: &Copying<'_>,
        options: SubscribeOptions,
    ) -> Result<Ended, Failure> {
        let subscriptions = self.subscribe(options).await;
        tokio::time::timeout(PATIENCE, copying.run(subscriptions)).await.expect("in time")
    }

    /// What the group has not acknowledged.
    async fn left(&self) -> Vec<String> {
        let mut subscription = self.subscribe(group()).await.remove(0);
        let mut left = Vec::new();
        let last = Envelope::new("mark", "");
        let mark = last.id();
        self.from.publish_sync(&ORDERS, last).await.unwrap();
        loop {
            let next = tokio::time::timeout(PATIENCE, subscription.try_next()).await;
            let delivery = next.expect("in time").unwrap().expect("the mark");
            let envelope = delivery.envelope().clone();
            delivery.ack().await.unwrap();
            if envelope.id() == mark {
                left.sort();
                return left;
            }
            left.push(String::from_utf8(envelope.payload().to_vec()).unwrap());
        }
    }
}

#[tokio::test]
async fn whole_envelopes_are_copied_in_order_and_acknowledged() {
    let setup = Setup::new(30).await;
    let ended = setup.copy(&setup.copying(30), group()).await.unwrap();
    assert_eq!(ended, Ended::Done);
    let key = |envelope: &Envelope| envelope.aggregate_id().map(str::to_owned);
    let sorted = |mut envelopes: Vec<Envelope>| {
        envelopes.sort_by_key(key);
        envelopes
    };
    let copied = sorted(setup.destination.published(&ORDERS));
    assert_eq!(copied, sorted(setup.source.published(&ORDERS)));
    assert_eq!(setup.tally.copied.get(), 30);
    assert_eq!(setup.left().await, [""; 0]);
}

#[tokio::test]
async fn nothing_is_acknowledged_before_the_destination_has_it() {
    let setup = Setup::new(1).await;
    setup.destination.hold_acks();
    let copying = setup.copying(1);
    let subscriptions = setup.subscribe(group()).await;
    let unsettled = async {
        setup.destination.wait_published(&ORDERS, 1, PATIENCE).await.unwrap();
        setup.from.health().await.subscriptions[0].in_flight
    };
    tokio::select! {
        _ = copying.run(subscriptions) => panic!("it does not know that the event is stored"),
        unsettled = unsettled => assert_eq!(unsettled, 1),
    }
}

#[tokio::test]
async fn a_destination_that_is_away_is_waited_for_and_keys_keep_their_order() {
    let setup = Setup::new(30).await;
    setup.destination.fail_next(12, unavailable());
    setup.copy(&setup.copying(30), group()).await.unwrap();
    assert_eq!(setup.tally.retried.get(), 12);
    for key in ["0", "1", "2"] {
        let copied = setup.destination.published(&ORDERS);
        let of_key = copied.iter().filter(|envelope| envelope.aggregate_id() == Some(key));
        let numbers: Vec<u64> =
            of_key.map(|e| str::from_utf8(e.payload()).unwrap().parse().unwrap()).collect();
        assert_eq!(numbers.len(), 10, "{key}: {numbers:?}");
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    assert_eq!(setup.left().await, [""; 0]);
}

#[tokio::test]
async fn what_is_never_taken_ends_the_pipe_and_stays_at_the_source() {
    let setup = Setup::new(1).await;
    setup.destination.fail_next(1, Error::new(ErrorKind::TooLarge, "too much"));
    let failure = setup.copy(&setup.copying(1), group()).await.unwrap_err();
    for what in ["memory:orders.created:0:0 was not copied", "too much", "--dead-letter"] {
        assert!(failure.message().contains(what), "{}", failure.message());
    }
    assert_eq!(setup.left().await, ["0"]);
}

#[tokio::test]
async fn what_is_never_taken_is_set_aside_if_there_is_a_topic_for_it() {
    let setup = Setup::new(2).await;
    setup.destination.fail_next(1, Error::new(ErrorKind::TooLarge, "too much"));
    let mut copying = setup.copying(1);
    copying.dead_letters = true;
    setup.copy(&copying, group().dead_letter(DEAD)).await.unwrap();
    assert_eq!(setup.destination.published(&ORDERS).len(), 1);
    assert_eq!(setup.source.published(&DEAD).len(), 1);
    assert_eq!(setup.left().await, [""; 0]);
}

#[tokio::test]
async fn what_is_no_envelope_ends_the_pipe_unless_it_may_be_skipped() {
    let setup = Setup::new(0).await;
    setup.source.plant(&ORDERS, b"?".as_slice().into());
    setup.from.publish_sync(&ORDERS, Envelope::new("order.created", "1")).await.unwrap();
    let failure = setup.copy(&setup.copying(1), group()).await.unwrap_err();
    for what in ["memory:orders.created:0:0 is no envelope", "--skip-undecodable"] {
        assert!(failure.message().contains(what), "{}", failure.message());
    }
    let mut copying = setup.copying(1);
    copying.skip_undecodable = true;
    setup.copy(&copying, group()).await.unwrap();
    assert_eq!(setup.tally.skipped.get(), 1);
    assert_eq!(setup.left().await, [""; 0]);
}

#[tokio::test]
async fn it_ends_when_nothing_comes() {
    let setup = Setup::new(5).await;
    let mut copying = setup.copying(5);
    (copying.count, copying.until_idle) = (None, Some(Duration::from_millis(20)));
    assert_eq!(setup.copy(&copying, group()).await.unwrap(), Ended::Done);
    assert_eq!(setup.tally.copied.get(), 5);
}
