//! Clients, octet by octet: what they see is what a client of the server sees.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A response with this status.
    Status(u16),
    /// The connection was closed without one octet.
    Closed,
    /// An outage: no connection, no answer in time, or half an answer.
    Nothing,
}

/// Longer than any answer takes on a loaded machine.
const TIME: Duration = Duration::from_secs(20);

/// Sends a GET on a connection of its own.
pub fn get(address: SocketAddr, host: &str, target: &str) -> Seen {
    send(address, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// A GET of the site that the tests know as `mail.example.org`.
pub fn ask(address: SocketAddr, target: &str) -> Seen {
    get(address, "mail.example.org", target)
}

/// Sends octets on a connection of its own, and reads to its end.
pub fn send(address: SocketAddr, octets: &str) -> Seen {
    let Ok(mut stream) = TcpStream::connect(address) else { return Seen::Nothing };
    stream.set_read_timeout(Some(TIME)).unwrap();
    let sent = stream.write_all(octets.as_bytes());
    let mut answer = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset && answer.is_empty() => break,
            Err(_) => return Seen::Nothing,
        }
    }
    match status(&answer) {
        Some(status) => Seen::Status(status),
        None if answer.is_empty() => Seen::Closed,
        None => sent.map_or(Seen::Closed, |()| Seen::Nothing),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    answer.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// A client that keeps its connection.
pub struct KeepAlive {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// Requests whose kept connection was closed before an octet of the answer came, and which were
    /// sent once more on a new one: RFC 9110, section 9.2.2, lets a client do that for GET.
    pub retried: u64,
}

/// How a request on a kept connection ended.
enum Ended {
    /// With this status.
    Status(u16),
    /// Before an octet of the answer came.
    Early,
    /// In the middle of the answer.
    Midway,
}

impl KeepAlive {
    /// A client of `address`, not yet connected.
    pub fn new(address: SocketAddr) -> KeepAlive {
        KeepAlive { address, stream: None, retried: 0 }
    }

    /// GETs a target; `None`: the request was lost.
    pub fn get(&mut self, target: &str) -> Option<u16> {
        let kept = self.stream.is_some();
        match self.exchange(target) {
            Ended::Status(status) => Some(status),
            Ended::Early if kept => {
                self.retried += 1;
                match self.exchange(target) {
                    Ended::Status(status) => Some(status),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn exchange(&mut self, target: &str) -> Ended {
        let mut read = 0;
        match self.attempt(target, &mut read) {
            Ok(status) => Ended::Status(status),
            Err(_) => {
                self.stream = None;
                if read == 0 { Ended::Early } else { Ended::Midway }
            }
        }
    }

    fn attempt(&mut self, target: &str, read: &mut usize) -> io::Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIME))?;
                empty.insert(stream)
            }
        };
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: mail.example.org\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4 << 10];
        loop {
            let length = stream.read(&mut buffer)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *read += length;
            answer.extend_from_slice(&buffer[..length]);
            if let Some((status, close)) = whole(&answer) {
                if close {
                    self.stream = None;
                }
                return Ok(status);
            }
        }
    }
}

/// The status of a whole answer with a Content-Length, and whether the connection ends with it.
fn whole(answer: &[u8]) -> Option<(u16, bool)> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length: usize = field("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
    let close = field("connection:") == Some("close");
    (answer.len() >= end + length).then(|| status(answer).map(|status| (status, close)))?
}
