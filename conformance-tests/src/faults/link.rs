//! A proxy between the buses and their broker, which does to the connections what networks do.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

/// Chunks that a connection holds in each direction before its sender has to wait.
const HELD: usize = 1024;
const CHUNK: usize = 16 << 10;

/// What happens to the connections. They are numbered in the order in which they came.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    /// Where the connections lead to. Without it nobody gets through.
    broker: Option<SocketAddr>,
    delay: Duration,
    /// Bytes a second in each direction.
    rate: Option<u32>,
    /// Nobody gets through, and older ones are closed.
    cut: bool,
    /// Older ones pass nothing on, for ever, and stay open.
    dead_before: u64,
    /// Older ones pass nothing on for now.
    held_before: u64,
}

/// A TCP proxy to one address on a port of `127.0.0.1` of its own. Dropped, it closes all
/// connections.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    rules: watch::Sender<Rules>,
    accepted: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Link {
    /// One that leads somewhere from the start.
    pub(crate) async fn to(broker: SocketAddr) -> io::Result<Self> {
        let link = Self::open().await?;
        link.lead_to(broker);
        Ok(link)
    }

    /// One that leads nowhere yet, for a broker that must know its port before it starts.
    pub(crate) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (rules, watched) = watch::channel(Rules::default());
        let (count, accepted) = watch::channel(0);
        let task = tokio::spawn(accept(listener, watched, count));
        Ok(Self { port, rules, accepted, task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn lead_to(&self, broker: SocketAddr) {
        self.rules.send_modify(|rules| rules.broker = Some(broker));
    }

    /// Everything takes so much longer in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    /// So many bytes a second pass in each direction of each connection.
    pub(crate) fn throttle(&self, bytes_per_second: u32) {
        self.rules.send_modify(|rules| rules.rate = Some(bytes_per_second));
    }

    /// Closes all connections and lets nobody in.
    pub(crate) fn cut(&self) {
        self.rules.send_modify(|rules| rules.cut = true);
    }

    /// The connections of now stay open and pass nothing on, for ever; new ones work.
    pub(crate) fn half_open(&self) {
        let next = *self.accepted.borrow();
        self.rules.send_modify(|rules| rules.dead_before = next);
    }

    /// The connections of now pass nothing on until [`heal`](Self::heal), which sends their
    /// unread tail even if the client has given them up; new ones work.
    pub(crate) fn hold(&self) {
        let next = *self.accepted.borrow();
        self.rules.send_modify(|rules| rules.held_before = next);
    }

    /// Ends everything but what half-open connections cannot get over.
    pub(crate) fn heal(&self) {
        self.rules.send_modify(|rules| {
            let Rules { broker, dead_before, .. } = *rules;
            *rules = Rules { broker, dead_before, ..Rules::default() };
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, rules: watch::Receiver<Rules>, count: watch::Sender<u64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            client = listener.accept() => {
                let Ok((client, _)) = client else { continue };
                let Rules { broker: Some(broker), cut: false, .. } = *rules.borrow() else {
                    continue;
                };
                let number = *count.borrow();
                count.send_replace(number + 1);
                connections.spawn(serve(client, broker, number, rules.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until both directions have ended or it is cut.
async fn serve(
    client: TcpStream,
    broker: SocketAddr,
    number: u64,
    mut rules: watch::Receiver<Rules>,
) {
    let Ok(server) = TcpStream::connect(broker).await else { return };
    // Small messages must not wait for each other here.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::join!(
            pass(from_client, to_server, number, rules.clone()),
            pass(from_server, to_client, number, rules.clone()),
        )
    };
    let mut watched = rules.clone();
    tokio::select! {
        _ = both => {}
        _ = watched.wait_for(|rules| rules.cut) => {}
    }
    rules.mark_unchanged();
}

/// One direction. Reading goes on while nothing may be written, so that what a client sent
/// before it went is still there afterwards.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut rules: watch::Receiver<Rules>,
) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(HELD);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now(), buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((came, chunk)) = chunks.recv().await {
            let Ok(rules) = rules.wait_for(|rules| number >= rules.held_before).await.map(|r| *r)
            else {
                return;
            };
            if number < rules.dead_before {
                continue;
            }
            tokio::time::sleep_until((came + rules.delay).into()).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
            if let Some(rate) = rules.rate {
                let takes = chunk.len() as f64 / f64::from(rate);
                tokio::time::sleep(Duration::from_secs_f64(takes)).await;
            }
        }
        if number < rules.borrow().dead_before {
            // Not even the end gets through.
            std::future::pending::<()>().await;
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
