//! Octets to a listener and back, over TCP or TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use stopgap_core::observed::Listener;

use super::{Bounds, tls};

/// See [`super::Host::exchange`].
pub(super) fn exchange(
    listener: &Listener,
    request: &[u8],
    bounds: Bounds,
    complete: fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + bounds.time;
    let stream = TcpStream::connect_timeout(&listener.address, bounds.time)?;
    stream.set_nodelay(true)?;
    let mut stream = Wire::new(stream, listener, deadline)?;
    match stream.send(request).and_then(|()| receive(&mut stream, bounds.octets, complete)) {
        Err(e) if is_close(&e) => Ok(Vec::new()),
        other => other,
    }
}

fn receive(stream: &mut Wire, limit: usize, complete: fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut chunk = [0; 8192];
    while answer.len() < limit && !complete(&answer) {
        let read = match stream.read(&mut chunk) {
            Ok(0) => break,
            // What came before a reset was an answer.
            Err(e) if is_close(&e) && !answer.is_empty() => break,
            other => other?,
        };
        answer.extend(chunk.iter().take(read));
    }
    answer.truncate(limit);
    Ok(answer)
}

/// The peer ended the connection: `close` with unread octets of ours becomes a reset, and TLS that
/// ends without its `close_notify` an unexpected end.
fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A stream with one deadline for everything on it.
struct Wire {
    stream: Stream,
    deadline: Instant,
}

impl Wire {
    fn new(tcp: TcpStream, listener: &Listener, deadline: Instant) -> io::Result<Wire> {
        if !listener.tls {
            return Ok(Wire { stream: Stream::Plain(tcp), deadline });
        }
        let client = tls::client(&listener.host, listener.address.ip())?;
        let mut wire = Wire { stream: Stream::Tls(Box::new(StreamOwned::new(client, tcp))), deadline };
        wire.handshake().map_err(|e| {
            // A peer that closes within the handshake has refused TLS, not our request.
            io::Error::new(io::ErrorKind::NotConnected, format!("no TLS: {e}"))
        })?;
        Ok(wire)
    }

    fn handshake(&mut self) -> io::Result<()> {
        self.arm()?;
        if let Stream::Tls(tls) = &mut self.stream {
            let StreamOwned { conn, sock } = tls.as_mut();
            while conn.is_handshaking() {
                conn.complete_io(sock)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.arm()?;
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(request),
            Stream::Tls(tls) => tls.write_all(request).and_then(|()| tls.flush()),
        }
    }

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        let read = match &mut self.stream {
            Stream::Plain(tcp) => tcp.read(chunk),
            Stream::Tls(tls) => tls.read(chunk),
        };
        read.map_err(|e| match e.kind() {
            // What a read time-out is called differs by system.
            io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
            _ => e,
        })
    }

    /// Sets what is left of the time for the next system calls.
    fn arm(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        };
        tcp.set_read_timeout(Some(left))?;
        tcp.set_write_timeout(Some(left))
    }
}
