//! A client outside the agent's process: one request on a connection of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A response with this status.
    Status(u16),
    /// The connection was closed without one octet.
    Closed,
    /// Nothing that can be told apart from an outage.
    Nothing,
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a request head and reads the start of the answer.
pub async fn ask(address: SocketAddr, target: &str, cookie: Option<&str>) -> Seen {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: mail.example.org\r\n{cookie}Connection: close\r\n\r\n");
    timeout(PATIENCE, exchange(address, &head)).await.unwrap_or(Seen::Nothing)
}

async fn exchange(address: SocketAddr, head: &str) -> Seen {
    let Ok(mut stream) = TcpStream::connect(address).await else { return Seen::Nothing };
    if stream.write_all(head.as_bytes()).await.is_err() {
        return Seen::Closed;
    }
    let mut answer = [0; 12];
    let mut length = 0;
    while let Some(rest) = answer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    match answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()) {
        Some(status) if length == answer.len() => Seen::Status(status),
        _ if length == 0 => Seen::Closed,
        _ => Seen::Nothing,
    }
}
