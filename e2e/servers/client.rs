//! A client, octet by octet, that keeps its connection while the server does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;
use crate::origin::find;

/// What a client sees of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The connection was closed without one octet.
    Closed,
    Status(u16),
    /// No answer in time, or no HTTP.
    Nothing,
}

pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    held: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, stream: None, held: Vec::new() }
    }

    /// Ends the connection, if there is one.
    pub fn close(&mut self) {
        self.stream = None;
        self.held.clear();
    }

    /// Sends no more; a server that waits for more of a request waits no longer.
    pub fn end(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// The connection, if one is open.
    pub fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// Whether a connection is open.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Sends octets, on the open connection or a new one.
    pub fn send(&mut self, octets: &[u8]) {
        if self.stream.is_none() {
            self.held.clear();
            self.stream = connect(self.address);
        }
        if let Some(stream) = &mut self.stream {
            // Where the server has closed, reading tells.
            let _ = stream.write_all(octets);
        }
    }

    /// Reads one answer; `headless`: it has no body. Afterwards the connection is closed unless the whole
    /// answer was read and the server keeps it.
    pub fn answer(&mut self, headless: bool) -> Seen {
        let Some(stream) = &mut self.stream else { return Seen::Nothing };
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(answer) = whole(&self.held, headless) {
                self.held.drain(..answer.length);
                // RFC 9110, 15.2: an interim answer precedes the answer.
                if answer.status < 200 {
                    continue;
                }
                if answer.close {
                    self.close();
                }
                return Seen::Status(answer.status);
            }
            match stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.held.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.close();
                    return Seen::Nothing;
                }
                _ => {
                    let seen = match status(&self.held) {
                        Some(status) => Seen::Status(status),
                        None if self.held.is_empty() => Seen::Closed,
                        None => Seen::Nothing,
                    };
                    self.close();
                    return seen;
                }
            }
        }
    }
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    for attempt in 0..50 {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return Some(stream);
            }
            // Ports of closed connections rest for a while; there are others.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10 * attempt)),
        }
    }
    None
}

struct Answer {
    status: u16,
    /// Of head and body.
    length: usize,
    close: bool,
}

/// The first answer in `held`, once all of it is there.
fn whole(held: &[u8], headless: bool) -> Option<Answer> {
    let head = find(held, b"\r\n\r\n", 0)? + 4;
    let status = status(held)?;
    let lower = held[..head].to_ascii_lowercase();
    let field = |name: &[u8]| {
        let at = find(&lower, name, 0)? + name.len();
        let value = lower[at..].split(|octet| *octet == b'\r').next()?;
        Some(std::str::from_utf8(value).ok()?.trim().to_owned())
    };
    let close = lower.starts_with(b"http/1.0")
        || field(b"\r\nconnection:").is_some_and(|value| value.contains("close"));
    let body = if headless || status < 200 || status == 204 || status == 304 {
        0
    } else if field(b"\r\ntransfer-encoding:").is_some() {
        find(held, b"0\r\n\r\n", head)? + 5 - head
    } else {
        // Without a length the body ends with the connection: the head tells what is asked here.
        let length = field(b"\r\ncontent-length:");
        match length.and_then(|value| value.parse::<usize>().ok()) {
            Some(length) => length,
            None => return Some(Answer { status, length: held.len(), close: true }),
        }
    };
    (held.len() >= head + body).then_some(Answer { status, length: head + body, close })
}

fn status(held: &[u8]) -> Option<u16> {
    held.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(held.get(9..12)?).ok()?.parse().ok()
}
