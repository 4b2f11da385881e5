//! The one request of Kafka's protocol that tells whether brokers are ready, and
//! who leads a partition.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Metadata, version 1, of all topics: key, version, correlation id, the client's
/// name, and no list.
const REQUEST: &[u8] = b"\
    \x00\x03\x00\x01\
    \x00\x00\x00\x01\
    \x00\x0ctest-brokers\
    \xff\xff\xff\xff";

/// What one broker knows.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The ids of the brokers that are registered and alive.
    pub(super) brokers: Vec<i32>,
    pub(super) partitions: Vec<Partition>,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) index: i32,
    /// A broker's id; negative without a leader.
    pub(super) leader: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) in_sync: Vec<i32>,
}

/// What the broker at `port`, which is not secured, knows.
pub(super) async fn ask(port: u16) -> io::Result<Metadata> {
    let answer = tokio::time::timeout(LIMIT, request(port))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
    Reader(&answer).metadata().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "an answer that is not Kafka's metadata")
    })
}

async fn request(port: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let length = u32::try_from(REQUEST.len()).map_err(io::Error::other)?;
    stream.write_u32(length).await?;
    stream.write_all(REQUEST).await?;
    let length = stream.read_u32().await?;
    let mut answer = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// What is left of an answer.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn metadata(&mut self) -> Option<Metadata> {
        let _correlation_id = self.i32()?;
        let brokers = self.list(|broker| {
            let id = broker.i32()?;
            let (_host, _port, _rack) = (broker.string()?, broker.i32()?, broker.string()?);
            Some(id)
        })?;
        let _controller = self.i32()?;
        let topics = self.list(|answer| {
            let _error = answer.i16()?;
            let topic = answer.string()?;
            let _internal = answer.bytes(1)?;
            answer.list(|answer| {
                let _error = answer.i16()?;
                Some(Partition {
                    topic: topic.clone(),
                    index: answer.i32()?,
                    leader: answer.i32()?,
                    replicas: answer.list(Self::i32)?,
                    in_sync: answer.list(Self::i32)?,
                })
            })
        })?;
        Some(Metadata { brokers, partitions: topics.into_iter().flatten().collect() })
    }

    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// Empty when there is none.
    fn string(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Some(String::from_utf8_lossy(self.bytes(length)?).into_owned())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.i32()?;
        (0..count).map(|_| item(self)).collect()
    }
}
