//! One line to a local socket, and what comes back.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Bounds;

/// Asks over `socket`. The answer ends at its first line end.
pub(super) fn ask(socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
    let (mut answer, closed) = exchange(socket, line, bounds, |answer| answer.contains(&b'\n'))?;
    match answer.iter().position(|&b| b == b'\n') {
        Some(end) => answer.truncate(end),
        None if closed => {
            let kind = io::ErrorKind::UnexpectedEof;
            return Err(io::Error::new(kind, "closed before the end of its answer"));
        }
        None => (),
    }
    text(answer)
}

/// Asks over `socket`. The answer ends where the peer closes.
pub(super) fn ask_all(socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
    exchange(socket, line, bounds, |_| false).and_then(|(answer, _)| text(answer))
}

/// What comes back until `enough` or the peer closes, and whether it closed.
fn exchange(
    socket: &Path,
    line: &str,
    bounds: Bounds,
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<(Vec<u8>, bool)> {
    let deadline = Instant::now() + bounds.time;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(bounds.time))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let read = stream.read(&mut chunk)?;
        answer.extend(chunk.iter().take(read));
        if read == 0 || enough(&answer) {
            return Ok((answer, read == 0));
        }
        if answer.len() > bounds.octets {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an answer without end"));
        }
    }
}

fn text(answer: Vec<u8>) -> io::Result<String> {
    String::from_utf8(answer).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        time => Ok(time),
    }
}
