//! One line to a local socket, one line back.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Bounds;

/// Asks over `socket`. The answer ends at its first line end.
pub(super) fn ask(socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
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
        if let Some(end) = answer.iter().position(|&b| b == b'\n') {
            answer.truncate(end);
            return String::from_utf8(answer)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
        }
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before the end of its answer"));
        }
        if answer.len() > bounds.octets {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an answer without end"));
        }
    }
}

fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        time => Ok(time),
    }
}
