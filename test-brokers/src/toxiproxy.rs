//! Toxiproxy: connections that are cut, slow, narrow or dead.

use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::Engine;
use crate::guard::RunDirectory;
use crate::port::Port;
use crate::process::Process;
use crate::{Error, http, prepare};

/// How long it may take to become ready.
const LIMIT: Duration = Duration::from_secs(30);

/// The two directions of a connection, as toxiproxy names them.
const STREAMS: [&str; 2] = ["upstream", "downstream"];

/// A toxiproxy of this process, which makes [`Proxy`] values. Dropping it ends all
/// their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), test_brokers::Error> {
/// use std::time::Duration;
/// use test_brokers::{Nats, Toxiproxy};
/// let (nats, toxiproxy) = (Nats::start().await?, Toxiproxy::start().await?);
/// let proxy = toxiproxy.proxy(nats.port()).await?;
/// let url = format!("nats://127.0.0.1:{}", proxy.port());
/// proxy.latency(Duration::from_millis(50), Duration::ZERO).await?;
/// proxy.cut().await?;
/// proxy.heal().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Toxiproxy {
    // Dropped first: the directory must not go before the process.
    process: Engine,
    api: Port,
    _directory: RunDirectory,
}

impl Toxiproxy {
    /// Starts it, built first where that has not been done.
    pub async fn start() -> Result<Self, Error> {
        let program = prepare::toxiproxy().await?;
        let directory = RunDirectory::create("toxiproxy")?;
        let api = Port::take()?;
        let log = directory.path().join("toxiproxy.log");
        let process = Engine::Process(Process::new("toxiproxy".to_owned(), log));
        let mut command = std::process::Command::new(program);
        command
            .args(["-host", "127.0.0.1", "-port", &api.number().to_string()])
            .current_dir(directory.path());
        process.start(|| command)?;
        let port = api.number();
        process
            .ready(LIMIT, || async move {
                match http::get(port, "/version").await {
                    Ok((200, _)) => Ok(()),
                    Ok((status, body)) => Err(format!("/version says {status}: {body}")),
                    Err(error) => Err(format!("/version: {error}")),
                }
            })
            .await?;
        Ok(Self { process, api, _directory: directory })
    }

    /// A proxy to this port of `127.0.0.1`, on a port of its own. It ends with the
    /// toxiproxy, also when dropped later.
    pub async fn proxy(&self, upstream: u16) -> Result<Proxy, Error> {
        let listen = Port::take()?;
        let proxy = Proxy { api: self.api.number(), listen };
        let body = json!({
            "name": proxy.name(),
            "listen": format!("127.0.0.1:{}", proxy.port()),
            "upstream": format!("127.0.0.1:{upstream}"),
            "enabled": true,
        });
        proxy.expect("POST", "/proxies", &body, &[201]).await?;
        Ok(proxy)
    }

    /// The process id, unless it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }
}

/// A way to one port, which does to the connections what networks do.
///
/// What it does adds up, in both directions, until [`heal`](Self::heal); asking for
/// the same again changes it. All of it applies to the connections of now and to
/// new ones. The controls resolve when toxiproxy has applied them; dropped before,
/// they may or may not have been applied.
#[derive(Debug)]
pub struct Proxy {
    api: u16,
    listen: Port,
}

impl Proxy {
    /// The port that clients connect to, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.listen.number()
    }

    /// Closes all connections and refuses new ones.
    pub async fn cut(&self) -> Result<(), Error> {
        self.enable(false).await
    }

    /// Each piece of data takes `delay` longer, give or take `jitter`, in each
    /// direction. Units below a millisecond are cut off.
    pub async fn latency(&self, delay: Duration, jitter: Duration) -> Result<(), Error> {
        let attributes = json!({ "latency": milliseconds(delay), "jitter": milliseconds(jitter) });
        self.toxic("latency", &attributes).await
    }

    /// So many KiB a second pass in each direction of each connection.
    pub async fn bandwidth(&self, kib_per_second: u32) -> Result<(), Error> {
        self.toxic("bandwidth", &json!({ "rate": kib_per_second })).await
    }

    /// Half-open: connections stay open, new ones are accepted, and all data is
    /// dropped. [`heal`](Self::heal) closes these connections, since their
    /// streams have a hole.
    pub async fn timeout(&self) -> Result<(), Error> {
        self.toxic("timeout", &json!({ "timeout": 0 })).await
    }

    /// Connections are reset (TCP RST) `after` they next carry data.
    pub async fn reset_peer(&self, after: Duration) -> Result<(), Error> {
        self.toxic("reset_peer", &json!({ "timeout": milliseconds(after) })).await
    }

    /// Ends all of it. Data that was late is sent now.
    pub async fn heal(&self) -> Result<(), Error> {
        let path = format!("/proxies/{}/toxics", self.name());
        let toxics = self.expect("GET", &path, &Value::Null, &[200]).await?;
        for toxic in toxics.as_array().into_iter().flatten() {
            if let Some(name) = toxic["name"].as_str() {
                self.expect("DELETE", &format!("{path}/{name}"), &Value::Null, &[204]).await?;
            }
        }
        self.enable(true).await
    }

    async fn enable(&self, enabled: bool) -> Result<(), Error> {
        let path = format!("/proxies/{}", self.name());
        self.expect("POST", &path, &json!({ "enabled": enabled }), &[200]).await.map(drop)
    }

    async fn toxic(&self, kind: &str, attributes: &Value) -> Result<(), Error> {
        let path = format!("/proxies/{}/toxics", self.name());
        for stream in STREAMS {
            let name = format!("{kind}_{stream}");
            let body = json!({
                "name": name, "type": kind, "stream": stream, "attributes": attributes,
            });
            // 409: it is there, and is changed instead.
            if self.request("POST", &path, &body, &[200, 409]).await?.0 == 409 {
                self.expect("POST", &format!("{path}/{name}"), &body, &[200]).await?;
            }
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("port-{}", self.listen.number())
    }

    async fn expect(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        good: &[u16],
    ) -> Result<Value, Error> {
        Ok(self.request(method, path, body, good).await?.1)
    }

    /// The status, one of `good`, and what is in the answer.
    async fn request(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        good: &[u16],
    ) -> Result<(u16, Value), Error> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let failed = |reason| Error::Toxiproxy { request: format!("{method} {path}"), reason };
        match http::send(self.api, method, path, &text).await {
            Ok((status, answer)) if good.contains(&status) => {
                Ok((status, serde_json::from_str(&answer).unwrap_or_default()))
            }
            Ok((status, answer)) => Err(failed(format!("it says {status}: {}", answer.trim()))),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
