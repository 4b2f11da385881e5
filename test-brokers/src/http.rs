//! As much of an HTTP client as the endpoints of nats-server and toxiproxy need.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one request may take; a paused server accepts it and stays silent.
const LIMIT: Duration = Duration::from_secs(2);

/// The status and body that `GET path` gives.
pub(crate) async fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    send(port, "GET", path, "").await
}

/// The status and body that a request with this body gives.
pub(crate) async fn send(
    port: u16,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    // Version 1.0 has neither chunks nor kept connections.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::time::timeout(LIMIT, exchange(port, &request))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer to {path}")))?
}

async fn exchange(port: u16, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, head.to_owned()))?;
    Ok((status, body.to_owned()))
}
