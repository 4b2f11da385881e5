//! A broker under test, with all that can be done to it.

use async_trait::async_trait;
use eventbus_conformance::{
    Failure, Harness, Result,
    workload::{Kind, Promises, Running},
};
use eventbus_core::{Capabilities, Topic};

use super::{Nemesis, link::Link};

/// A broker, or a cluster, and what can be done to it. What it cannot do fails.
#[async_trait]
pub(crate) trait Site: Harness {
    /// Where another process reaches the broker.
    fn url(&self) -> String {
        String::new()
    }

    /// How many servers there are.
    fn servers(&self) -> usize {
        1
    }

    /// The proxy through which buses connect.
    fn link(&self) -> Option<&Link> {
        None
    }

    /// Which anomalies must not be when this happens.
    fn promises(&self, nemesis: Nemesis, capabilities: &Capabilities) -> Promises {
        promises(nemesis, capabilities)
    }

    /// The state of the broker in words, for whoever looks for the reason of something.
    async fn diagnose(&self) -> String {
        String::new()
    }

    fn kill(&self, server: usize) -> Result {
        let _ = server;
        cannot("kill")
    }

    /// Starts the servers that do not run, and waits until all is well.
    async fn start_missing(&self) -> Result {
        cannot("start")
    }

    /// Stops a server in order, starts it again and waits until all is well.
    async fn restart(&self, server: usize) -> Result {
        let _ = server;
        cannot("restart")
    }

    fn freeze(&self, server: usize) -> Result {
        let _ = server;
        cannot("freeze")
    }

    fn thaw(&self, server: usize) -> Result {
        let _ = server;
        cannot("thaw")
    }

    /// The server that leads what holds the topic.
    async fn leader(&self, topic: &Topic) -> Result<usize> {
        let _ = topic;
        cannot("find a leader").map(|()| 0)
    }

    async fn delete(&self, topic: &Topic) -> Result {
        let _ = topic;
        cannot("delete")
    }

    /// From now on, or no more, what holds the topic refuses to grow.
    async fn limit(&self, topic: &Topic, on: bool) -> Result {
        let _ = (topic, on);
        cannot("limit")
    }

    fn fill_disk(&self) -> Result {
        cannot("fill the disk")
    }

    /// Gives room again, and does what it takes to get the broker going.
    async fn free_disk(&self) -> Result {
        cannot("free the disk")
    }

    fn refuse(&self, run: &Running, on: bool) -> Result {
        let _ = (run, on);
        cannot("refuse")
    }

    fn hold_answers(&self, run: &Running, on: bool) -> Result {
        let _ = (run, on);
        cannot("hold acknowledgements")
    }
}

/// What holds on most brokers when this happens.
pub(crate) fn promises(nemesis: Nemesis, capabilities: &Capabilities) -> Promises {
    match nemesis {
        Nemesis::TopicDeleted => deleted(),
        nemesis if nemesis.loses_connections() => Promises::across_reconnect(capabilities),
        _ => Promises::all(),
    }
}

/// What was there is gone, with its positions; what is promised is that publishing says so,
/// verdicts included, and goes on.
fn deleted() -> Promises {
    [
        Kind::Lost,
        Kind::Undelivered,
        Kind::Ended,
        Kind::Inverted,
        Kind::DeliveredOutOfOrder,
        Kind::SettledRedelivered,
        Kind::NotRedelivered,
        Kind::LetterMissing,
    ]
    .into_iter()
    .fold(Promises::all(), Promises::without)
}

#[track_caller]
fn cannot(what: &str) -> Result {
    Err(Failure::new(format!("this site cannot {what}")))
}
