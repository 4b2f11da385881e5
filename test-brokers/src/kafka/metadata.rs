//! The one request of Kafka's protocol that tells whether a broker is ready.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Metadata, version 1, of no topic: key, version, correlation id, the client's
/// name, and an empty list.
const REQUEST: &[u8] = b"\
    \x00\x03\x00\x01\
    \x00\x00\x00\x01\
    \x00\x0ctest-brokers\
    \x00\x00\x00\x00";

/// Whether the broker at `port` sees a live broker: itself, once it is registered
/// and serves clients.
pub(super) async fn has_broker(port: u16) -> io::Result<bool> {
    tokio::time::timeout(LIMIT, request(port))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?
}

async fn request(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let length = u32::try_from(REQUEST.len()).map_err(io::Error::other)?;
    stream.write_u32(length).await?;
    stream.write_all(REQUEST).await?;
    let _length = stream.read_u32().await?;
    let _correlation_id = stream.read_u32().await?;
    let brokers = stream.read_i32().await?;
    Ok(brokers > 0)
}
