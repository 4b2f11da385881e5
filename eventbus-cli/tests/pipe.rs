//! `eventbus pipe` between a real NATS server and a real Kafka, as its users run it. What happens
//! when brokers die on the way is shown by `cargo run -p conformance-tests -- pipe`.

mod support;

use std::ops::Range;

use serde_json::Value;
use support::{Ended, Running, eventbus, run, run_with_input, wait};
use test_brokers::{Kafka, Nats};

const EVENTS: u64 = 500;

struct Brokers {
    nats: Nats,
    kafka: Kafka,
}

impl Brokers {
    async fn start() -> Self {
        let (nats, kafka) = tokio::try_join!(Nats::start(), Kafka::start()).expect("brokers");
        Self { nats, kafka }
    }

    fn publish(&self, numbers: Range<u64>) {
        publish(self.nats.url(), numbers);
    }
}

fn publish(url: &str, numbers: Range<u64>) {
    let line = |n| {
        format!("{{\"key\":\"{}\",\"headers\":{{\"a\":\"ü\u{7f}\"}},\"payload\":{n}}}\n", n % 7)
    };
    let lines: String = numbers.map(line).collect();
    let ended = run_with_input(&["pub", "orders.created", "--url", url], &lines);
    assert_eq!(ended.code, Some(0), "{ended}");
}

fn pipe(from: &str, to: &str, arguments: &[&str]) -> Ended {
    run(&[&["pipe", "--json", "--from", from, "--to", to, "orders.>"], arguments].concat())
}

/// What is in a bus: without where it is stored, and each key in its order.
fn read(url: &str, count: u64) -> Vec<Value> {
    let count = count.to_string();
    let ended =
        run(&["sub", "orders.>", "--url", url, "--from", "earliest", "--json", "--count", &count]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let lines = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let mut events: Vec<Value> = lines.collect();
    for event in &mut events {
        let event = event.as_object_mut().expect("an object");
        for place in ["position", "attempt", "published_at"] {
            event.remove(place);
        }
    }
    events.sort_by_key(|event| event["key"].as_str().expect("a key").to_owned());
    events
}

#[tokio::test]
async fn whole_events_go_from_nats_to_kafka_and_back_and_each_run_goes_on() {
    let brokers = Brokers::start().await;
    let (nats, kafka) = (brokers.nats.url(), brokers.kafka.url());
    let copy = format!("{nats}?prefix=copy&streams=COPY:%3E");
    brokers.publish(0..EVENTS);
    let ended = pipe(nats, kafka, &["--count", "200"]);
    assert_eq!((ended.code, &ended.json()["copied"]), (Some(0), &200.into()), "{ended}");
    let rest = (EVENTS - 200).to_string();
    let ended = pipe(nats, kafka, &["--count", &rest]);
    assert_eq!((ended.code, &ended.json()["copied"]), (Some(0), &300.into()), "{ended}");
    let ended = pipe(kafka, &copy, &["--count", &EVENTS.to_string()]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let source = read(nats, EVENTS);
    assert_eq!(source[0]["headers"]["a"], "ü\u{7f}");
    assert_eq!(read(kafka, EVENTS), source);
    assert_eq!(read(&copy, EVENTS), source);
    brokers.publish(EVENTS..EVENTS + 10);
    let ended = pipe(nats, kafka, &["--until-idle", "2s"]);
    assert_eq!((ended.code, &ended.json()["copied"]), (Some(0), &10.into()), "{ended}");
}

#[cfg(unix)]
#[tokio::test]
async fn interrupted_it_acknowledges_what_it_copied_and_goes_on_from_there() {
    let brokers = Brokers::start().await;
    let (nats, kafka) = (brokers.nats.url(), brokers.kafka.url());
    brokers.publish(0..EVENTS);
    let arguments =
        ["pipe", "--json", "--from", nats, "--to", kafka, "orders.created", "--window", "3"];
    let mut running = Running::start(eventbus().args(arguments));
    running.until_it_says("copying orders.created");
    running.signal(rustix::process::Signal::INT);
    let first = running.end();
    assert_eq!(first.code, Some(0), "{first}");
    let copied = first.json()["copied"].as_u64().expect("a number");
    let rest = wait(eventbus().args(arguments).args(["--until-idle", "2s"]));
    assert_eq!(rest.json()["copied"], EVENTS - copied, "{first} {rest}");
    assert_eq!(read(kafka, EVENTS).len() as u64, EVENTS);
}

/// What it had under way comes first in the next run, and what waits behind that after it.
#[cfg(unix)]
#[tokio::test]
async fn interrupted_while_the_destination_is_away_it_goes_on_in_order() {
    let (source, destination) = tokio::try_join!(Nats::start(), Nats::start()).expect("brokers");
    let to = format!("{}?ack_timeout=1s", destination.url());
    let arguments = ["pipe", "--json", "--from", source.url(), "--to", &to, "orders.created"];
    let mut running = Running::start(eventbus().args(arguments));
    running.until_it_says("copying orders.created");
    destination.pause().expect("a signal");
    publish(source.url(), 0..EVENTS);
    running.until_it_says("waiting for the destination");
    running.signal(rustix::process::Signal::INT);
    let first = running.end();
    assert_eq!((first.code, &first.json()["copied"]), (Some(0), &0.into()), "{first}");
    destination.resume().expect("a signal");
    let rest = wait(eventbus().args(arguments).args(["--count", &EVENTS.to_string()]));
    assert_eq!(rest.code, Some(0), "{rest}");
    assert_eq!(read(destination.url(), EVENTS), read(source.url(), EVENTS));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let brokers = Brokers::start().await;
    let (nats, kafka) = (brokers.nats.url(), brokers.kafka.url());
    let refused = |ended: Ended, code: i32, expected: &str| {
        assert_eq!(ended.code, Some(code), "{ended}");
        assert!(ended.stderr.contains(expected), "expected {expected:?}: {ended}");
    };
    refused(pipe(nats, nats, &[]), 2, "without end");
    refused(pipe(nats, "nowhere://x", &[]), 2, "--to: connect: unknown scheme");
    refused(pipe("nats://127.0.0.1:1", kafka, &[]), 3, "--from: ");
    refused(pipe(nats, kafka, &["--group", "a b"]), 2, "1 to 100 characters");
    brokers.publish(0..1);
    let small = format!("{kafka}?max_envelope_bytes=50");
    refused(pipe(nats, &small, &[]), 1, "--dead-letter TOPIC moves such events aside");
    let aside = pipe(nats, &small, &["--dead-letter", "dead.orders", "--until-idle", "2s"]);
    assert_eq!((aside.code, &aside.json()["dead_lettered"]), (Some(0), &1.into()), "{aside}");
}
