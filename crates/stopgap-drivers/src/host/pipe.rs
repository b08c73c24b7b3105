//! One line to a local pipe of Windows, and what comes back: what a local socket is elsewhere.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::windows::named_pipe::ClientOptions;

use super::Bounds;

/// ERROR_PIPE_BUSY: every end of the server's is taken; the next one is opened at once.
const BUSY: i32 = 231;

/// The pipe that stands for a socket at `path`: the name that the gateway (`control/windows.rs`) gives it.
fn name(path: &Path) -> String {
    format!("\\\\.\\pipe\\{}", path.to_string_lossy().to_lowercase().replace(['\\', '/', ':'], "-"))
}

/// Asks over `socket`. The answer ends at its first line end, where `line_only`, else where the peer closes.
pub(super) fn ask(socket: &Path, line: &str, bounds: Bounds, line_only: bool) -> io::Result<String> {
    std::thread::scope(|scope| {
        // A thread of its own: the caller's may belong to a runtime already.
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let answer = exchange(socket, line, bounds.octets, line_only);
            let timed = runtime.block_on(async { tokio::time::timeout(bounds.time, answer).await });
            timed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        });
        asked.join().unwrap_or_else(|_| Err(io::Error::other("the thread of a connection ended early")))
    })
}

async fn exchange(socket: &Path, line: &str, octets: usize, line_only: bool) -> io::Result<String> {
    let name = name(socket);
    let mut pipe = loop {
        match ClientOptions::new().open(&name) {
            Err(error) if error.raw_os_error() == Some(BUSY) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => break opened?,
        }
    };
    pipe.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = match pipe.read(&mut chunk).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            read => read?,
        };
        answer.extend(chunk.iter().take(read));
        let end = answer.iter().position(|&b| b == b'\n').filter(|_| line_only);
        match end {
            Some(end) => answer.truncate(end),
            None if read == 0 && line_only => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed before the end of its answer",
                ));
            }
            None if read == 0 => (),
            None if answer.len() > octets => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an answer without end"));
            }
            None => continue,
        }
        return String::from_utf8(answer)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"));
    }
}
