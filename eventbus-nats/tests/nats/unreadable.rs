//! Messages whose headers the client cannot read, each of which costs it the connection.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use eventbus_core::{
    Delivery, ErrorKind, EventBus, Ordering, ReceiveError, Start, SubscribeOptions, Subscription,
    Topic, Undecodable, UndecodablePolicy,
};
use eventbus_nats::async_nats::Client;
use serde_json::Value;
use test_brokers::{Nats, Toxiproxy};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::steps::{PATIENCE, api, connect, raw, until};

const RAW: Topic = Topic::from_static("legacy.orders");
const SUBJECT: &str = "eb.legacy.orders";
const READABLE: &[u8] = b"eb-key: 7";
const UNREADABLE: &[u8] = b"eb-key: 7\r\nX-Latin: caf\xe9";
/// No text either, and without a key.
const NO_HEADER: &[u8] = b"no colon";

async fn publish_bytes(server: &Nats, lines: &[u8], body: &[u8]) {
    publish_bytes_to(server, SUBJECT, lines, body).await;
}

/// Publishes what no client library would: `lines` as the header block, as they are.
async fn publish_bytes_to(server: &Nats, subject: &str, lines: &[u8], body: &[u8]) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let headers = [b"NATS/1.0\r\n", lines, b"\r\n\r\n"].concat();
    let total = headers.len() + body.len();
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    let mut said = format!("{connect}HPUB {subject} {} {total}\r\n", headers.len()).into_bytes();
    said.extend([&headers, body, b"\r\nPING\r\n"].concat());
    socket.write_all(&said).await.unwrap();
    let mut answers = BufReader::new(socket).lines();
    let mut answered = false;
    while !answered {
        let line = tokio::time::timeout(PATIENCE, answers.next_line());
        let line = line.await.expect("an answer").unwrap().expect("an answer");
        assert!(!line.starts_with("-ERR"), "{line}");
        answered = line == "PONG";
    }
}

/// A server, and a bus to a raw topic there.
async fn start() -> (Nats, Arc<dyn EventBus>) {
    let server = Nats::start().await.unwrap();
    let bus = open(server.url()).await;
    (server, bus)
}

async fn open(url: &str) -> Arc<dyn EventBus> {
    let bus = connect(&format!("{url}?raw=legacy.>")).await.unwrap();
    bus.ensure_topic(&RAW).await.unwrap();
    bus
}

/// Five of one key, of which the client cannot read the second and the fourth.
async fn publish_five(server: &Nats) {
    for (n, headers) in (1..).zip([READABLE, UNREADABLE, READABLE, UNREADABLE, READABLE]) {
        publish_bytes(server, headers, body(n).as_ref()).await;
    }
}

fn body(n: u32) -> Bytes {
    n.to_string().into()
}

async fn subscribe(bus: &Arc<dyn EventBus>, options: SubscribeOptions) -> Subscription {
    let options = options.undecodable(UndecodablePolicy::Yield).start(Start::Earliest);
    bus.subscribe(&RAW.filter(), options).await.unwrap()
}

/// What comes out of a subscription that reads all kinds of messages.
enum Item {
    Read(Delivery),
    Unread(Undecodable),
}

impl Item {
    fn body(&self) -> Bytes {
        match self {
            Self::Read(delivery) => delivery.envelope().payload().clone(),
            Self::Unread(message) => message.bytes().clone(),
        }
    }

    async fn ack(self) {
        match self {
            Self::Read(delivery) => delivery.ack().await.unwrap(),
            Self::Unread(message) => message.ack().await.unwrap(),
        }
    }

    async fn nack(self, delay: Duration) {
        match self {
            Self::Read(delivery) => delivery.nack(delay).await.unwrap(),
            Self::Unread(message) => message.nack(delay).await.unwrap(),
        }
    }
}

async fn next(subscription: &mut Subscription) -> Item {
    let next = tokio::time::timeout(PATIENCE * 2, subscription.next()).await;
    match next.expect("it goes on").expect("it goes on") {
        Ok(delivery) => Item::Read(delivery),
        Err(ReceiveError::Undecodable(message)) => Item::Unread(*message),
        Err(other) => panic!("{other}"),
    }
}

/// Takes and settles until these have come. Gives the order in which they came first.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<Bytes> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let item = next(subscription).await;
        if !taken.contains(&item.body()) {
            taken.push(item.body());
        }
        item.ack().await;
    }
    taken
}

/// Waits until the only consumer has nothing to deliver again up to `sequence`. An acknowledgement
/// can be lost with a connection, so there may still come something.
async fn settled(client: &Client, subscription: &mut Subscription, sequence: u64) {
    let settled = until("all are settled", async || {
        let info = api(client, "CONSUMER.LIST.EVENTBUS", &Value::Null).await;
        info["consumers"][0]["ack_floor"]["stream_seq"] == sequence
    });
    let settle = async {
        loop {
            next(subscription).await.ack().await;
        }
    };
    tokio::select! {
        () = settled => {}
        () = settle => {}
    }
}

#[tokio::test]
async fn they_stop_nothing() {
    let (server, bus) = start().await;
    publish_bytes(&server, READABLE, b"before").await;
    publish_bytes(&server, UNREADABLE, b"no text").await;
    publish_bytes(&server, READABLE, b"between").await;
    publish_bytes(&server, NO_HEADER, b"no header").await;
    publish_bytes(&server, READABLE, b"after").await;
    let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let (mut read, mut unreadable) = (BTreeSet::new(), BTreeMap::new());
    let mut nacked_came_again = false;
    while read.len() < 3 || unreadable.len() < 2 || !nacked_came_again {
        match next(&mut subscription).await {
            Item::Read(delivery) => {
                read.insert(delivery.envelope().payload().clone());
                delivery.ack().await.unwrap();
            }
            Item::Unread(message) => {
                let key = message.key().cloned();
                let again = unreadable.insert(message.bytes().clone(), key.clone());
                // It comes again, although the server's way to send it again is the same.
                match (key, again) {
                    (Some(_), None) => message.nack(Duration::ZERO).await.unwrap(),
                    (Some(_), Some(_)) => {
                        nacked_came_again |= message.info().attempt == 2;
                        message.ack().await.unwrap();
                    }
                    (None, _) => message.ack().await.unwrap(),
                }
            }
        }
    }
    assert!(read.iter().eq(["after", "before", "between"]), "{read:?}");
    let keys = [("no header", None), ("no text", Some("7"))];
    let keys = keys.map(|(body, key)| (Bytes::from(body), key.map(Bytes::from)));
    assert!(unreadable.iter().eq(keys.iter().map(|(body, key)| (body, key))), "{unreadable:?}");
    settled(&raw(&server).await, &mut subscription, 5).await;
    bus.close().await.unwrap();
}

/// Others cost the connection meanwhile, again and again.
#[tokio::test]
async fn a_nacked_one_waits_for_its_delay() {
    const DELAY: Duration = Duration::from_secs(8);
    let (server, bus) = start().await;
    publish_bytes(&server, UNREADABLE, b"nacked").await;
    let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let item = next(&mut subscription).await;
    assert_eq!(item.body(), "nacked");
    let nacked_at = Instant::now();
    item.nack(DELAY).await;
    for n in 0..2 {
        publish_bytes(&server, UNREADABLE, body(n).as_ref()).await;
        let item = next(&mut subscription).await;
        assert_eq!(item.body(), body(n), "after {:?}", nacked_at.elapsed());
        item.ack().await;
    }
    let item = next(&mut subscription).await;
    assert_eq!(item.body(), "nacked");
    assert!(nacked_at.elapsed() >= DELAY, "after {:?}", nacked_at.elapsed());
    item.ack().await;
    settled(&raw(&server).await, &mut subscription, 3).await;
    bus.close().await.unwrap();
}

/// Nobody is told of a message whose subject is no topic.
#[tokio::test]
async fn one_that_is_for_nobody_stops_nothing() {
    let (server, bus) = start().await;
    publish_bytes_to(&server, "eb.legacy.no$topic", UNREADABLE, b"for nobody").await;
    publish_bytes(&server, READABLE, b"after").await;
    let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
    let options = options.undecodable(UndecodablePolicy::Yield).start(Start::Earliest);
    let mut subscription = bus.subscribe(&"legacy.>".parse().unwrap(), options).await.unwrap();
    let item = next(&mut subscription).await;
    assert_eq!(item.body(), "after");
    item.ack().await;
    settled(&raw(&server).await, &mut subscription, 2).await;
    bus.close().await.unwrap();
}

/// The connection is lost with it, so the server delivers the message again.
#[tokio::test]
async fn a_lost_acknowledgement_is_said_again() {
    let (server, toxiproxy) = (Nats::start().await.unwrap(), Toxiproxy::start().await.unwrap());
    let proxy = toxiproxy.proxy(server.port()).await.unwrap();
    let bus = open(&format!("nats://127.0.0.1:{}", proxy.port())).await;
    publish_bytes(&server, UNREADABLE, b"one").await;
    let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let item = next(&mut subscription).await;
    proxy.timeout().await.unwrap();
    item.ack().await;
    proxy.heal().await.unwrap();
    let client = raw(&server).await;
    let settled = until("it is settled", async || {
        let info = api(&client, "CONSUMER.LIST.EVENTBUS", &Value::Null).await;
        info["consumers"][0]["ack_floor"]["stream_seq"] == 1
    });
    tokio::select! {
        () = settled => {}
        _ = next(&mut subscription) => panic!("it was settled, and came again"),
    }
    bus.close().await.unwrap();
}

/// They have their place in their key, also when they are nacked.
#[tokio::test]
async fn with_per_key_they_keep_their_place() {
    let group = SubscribeOptions::group("g");
    for options in [group, SubscribeOptions::new()] {
        let (server, bus) = start().await;
        publish_five(&server).await;
        let options = options.ordering(Ordering::PerKey).ack_wait(Duration::from_secs(2));
        let mut subscription = subscribe(&bus, options).await;
        assert_eq!(take(&mut subscription, 1).await, [body(1)]);
        let second = next(&mut subscription).await;
        assert_eq!(second.body(), body(2));
        second.nack(Duration::ZERO).await;
        let rest = take(&mut subscription, 4).await;
        assert_eq!(rest, [2, 3, 4, 5].map(body));
        settled(&raw(&server).await, &mut subscription, 5).await;
        bus.close().await.unwrap();
    }
}

#[tokio::test]
async fn without_a_group_they_stop_nothing() {
    let (server, bus) = start().await;
    publish_five(&server).await;
    let options = SubscribeOptions::new().ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let mut nacked = None;
    let mut came_again = false;
    let mut taken = BTreeSet::new();
    while taken.len() < 5 || !came_again {
        let item = next(&mut subscription).await;
        taken.insert(item.body());
        if item.body() == body(2) && nacked.replace(()).is_none() {
            item.nack(Duration::ZERO).await;
        } else {
            came_again |= item.body() == body(2);
            item.ack().await;
        }
    }
    settled(&raw(&server).await, &mut subscription, 5).await;
    bus.close().await.unwrap();
}

/// Its new consumer delivers all again from the first that is not settled, and they are among it.
#[tokio::test]
async fn a_consumer_that_is_made_anew_is_not_stopped_by_those_that_were_settled() {
    let (server, bus) = start().await;
    publish_five(&server).await;
    // The first is with the application for all of this.
    let options = SubscribeOptions::new().ack_wait(Duration::from_secs(2));
    let mut subscription = subscribe(&bus, options).await;
    let mut first = None;
    let mut settled_here = BTreeSet::new();
    let settle = async {
        while settled_here.len() < 4 {
            let item = next(&mut subscription).await;
            if item.body() == body(1) {
                first = Some(item);
            } else {
                settled_here.insert(item.body());
                item.ack().await;
            }
        }
    };
    // What the client can read comes again and again meanwhile.
    tokio::time::timeout(PATIENCE * 2, settle).await.expect("the others, too");
    let client = raw(&server).await;
    let consumers = api(&client, "CONSUMER.LIST.EVENTBUS", &Value::Null).await;
    let name = consumers["consumers"][0]["name"].as_str().unwrap();
    api(&client, &format!("CONSUMER.DELETE.EVENTBUS.{name}"), &Value::Null).await;
    publish_bytes(&server, READABLE, b"6").await;
    drop(first);
    take(&mut subscription, 2).await;
    settled(&client, &mut subscription, 6).await;
    bus.close().await.unwrap();
}

/// Such an acknowledgement covers what is before it, so it cannot leave one out. To remove it does
/// not help either: the server then takes what is before it for acknowledged.
#[tokio::test]
async fn a_cumulative_subscription_ends_and_names_the_first() {
    let (server, bus) = start().await;
    publish_five(&server).await;
    let options = SubscribeOptions::group("c").cumulative().ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let mut taken = BTreeSet::new();
    let error = loop {
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
        match next.expect("it ends").expect("it says why it ends") {
            Ok(delivery) => {
                taken.insert(delivery.envelope().payload().clone());
                delivery.ack().await.unwrap();
            }
            Err(ReceiveError::Terminal(error)) => break error,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidEnvelope, "{error}");
    assert!(error.to_string().ends_with("(stream EVENTBUS, sequence 2)"), "{error}");
    assert!(subscription.next().await.is_none());
    // Nothing behind was handed out, nor acknowledged.
    assert!(taken.iter().eq(["1"]) || taken.is_empty(), "{taken:?}");
    let client = raw(&server).await;
    let consumers = api(&client, "CONSUMER.LIST.EVENTBUS", &Value::Null).await;
    let floor = consumers["consumers"][0]["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
    assert!(floor <= 1, "{consumers}");
    // What the error says to do.
    let options = SubscribeOptions::group("g").ack_wait(Duration::from_secs(1));
    let mut subscription = subscribe(&bus, options).await;
    let mut all = take(&mut subscription, 5).await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 4, 5].map(body));
    bus.close().await.unwrap();
}
