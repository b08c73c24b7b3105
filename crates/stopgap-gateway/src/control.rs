//! The control socket: how the gateway is told to read its rules anew, and says which are in force.
//!
//! A Unix socket with mode 0600: the gateway's own user and root. On Windows a pipe of this machine, whose name is the
//! path and to which administrators, the system and the gateway's own user may write. One JSON object a line, in both
//! directions; a connection carries one request or several, answered in order. A line has at most
//! 4,096 octets, and a connection that is silent for 30 seconds is closed.
//!
//! ```text
//! > {"command":"activate"}
//! < {"active":"<sha256>","rules":1,"observes":true,"error":null,
//!    "settled":false,"older_connections":1,"older":{"requests":1,"tunnels":0},"sets":1}
//! > {"command":"activate","wait":10}
//! < {"active":"<sha256>","rules":1,"observes":true,"error":null,
//!    "settled":true,"older_connections":0,"older":{"requests":0,"tunnels":0},"sets":1}
//! > {"command":"status"}
//! < {"active":"<sha256>","rules":1,"observes":true,"error":null,
//!    "settled":true,"older_connections":0,"older":{"requests":0,"tunnels":0},"sets":1,
//!    "requests":7,"probes":0,"malformed":0,"refused":2,"over_limit":0,"changed":0,
//!    "by_rule":{"PowerShell - inbound":2},"observed":0,"observed_by_rule":{}}
//! ```
//!
//! - `active`: SHA-256 of the octets of the rules file that is in force, in lower-case hexadecimal; of
//!   nothing (`e3b0c442…`) where the file is absent or empty.
//! - `rules`: enabled rules in force, for requests and for responses.
//! - `error`: why the file, when it was last read, was not put in force; what `active` names still is.
//! - `observes`: true; the agent gives rules that are only observed to no gateway that does not say so.
//! - `observed`: requests that went on although a rule that is only observed would have refused them.
//! - `settled`: nothing that earlier rules let in is in progress any more.
//! - `older_connections`: connections that earlier rules still serve, the sum of `older`.
//! - `older.requests`: requests that an earlier set judged and whose answers have not ended.
//! - `older.tunnels`: WebSockets that an earlier set let in. Rules never look into one.
//! - `changed`: responses in which rules changed a header field.
//! - `sets`: compiled rule sets in memory, with the one in force.
//!
//! # In force, in two steps
//!
//! A request is judged once, by one set: the one that is in force when its head is complete and its
//! turn on its connection has come. Its answer is judged by that same set.
//!
//! 1. When `activate` answers, the swap is done: every request whose head becomes complete afterwards
//!    meets the set that `active` names, on a new connection and on one that was kept alive, also where
//!    a part of that head was sent before.
//! 2. When `settled` is true beside that same `active`, nothing that met earlier rules is left: no
//!    request waits for the origin, no answer is on its way, no WebSocket is open.
//!
//! `activate` answers at once. With `wait`, in seconds and at most 25, it answers when the second step
//! is reached or that time is over, and `settled` says which.
//!
//! A line that is no request is answered `{"error":"…"}`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::era::Older;
use crate::proxy::Shared;

#[cfg(unix)]
pub(crate) use unix::{ControlSocket, serve};
#[cfg(windows)]
pub(crate) use windows::{ControlSocket, serve};

const MAX_LINE: u64 = 4096;
const SILENCE: Duration = Duration::from_secs(30);
/// Connections at a time. The callers are an agent and an operator.
const MAX_CONNECTIONS: usize = 16;

/// Below the 30 s for which the agent waits for an answer.
const MAX_WAIT: Duration = Duration::from_secs(25);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(serde::Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
enum Command {
    Activate {
        #[serde(default)]
        wait: u64,
    },
    // With braces, so that unknown fields are refused here too.
    Status {},
}

#[derive(serde::Serialize)]
struct Active {
    active: String,
    rules: usize,
    /// This gateway knows rules that are only observed, by their names; one that does not would refuse.
    observes: bool,
    error: Option<String>,
    settled: bool,
    older_connections: usize,
    older: Older,
    sets: usize,
}

#[derive(serde::Serialize)]
struct Status {
    #[serde(flatten)]
    active: Active,
    #[serde(flatten)]
    counted: crate::counters::Counted,
}

#[derive(serde::Serialize)]
struct Misunderstood {
    error: String,
}

/// The answer to one line, without a line end.
async fn answer(line: &[u8], shared: &Shared) -> String {
    let answer = match serde_json::from_slice(line) {
        Ok(Command::Activate { wait }) => {
            shared.rules.activate().await;
            let wait = Duration::from_secs(wait).min(MAX_WAIT);
            // Where the time is over, the answer says so.
            let _ = timeout(wait, settled(shared)).await;
            serde_json::to_string(&active(shared))
        }
        Ok(Command::Status {}) => {
            serde_json::to_string(&Status { active: active(shared), counted: shared.counters.read() })
        }
        Err(error) => serde_json::to_string(&Misunderstood {
            error: format!("expected {{\"command\":\"activate\"}} or {{\"command\":\"status\"}}: {error}"),
        }),
    };
    answer.unwrap_or_default()
}

fn active(shared: &Shared) -> Active {
    // The book first: what `settled` says is then said of this book, or of a later one.
    let book = shared.rules.book();
    let older = shared.rules.older();
    Active {
        active: book.hash.clone(),
        rules: book.rules,
        observes: true,
        error: shared.rules.error(),
        settled: older.connections() == 0,
        older_connections: older.connections(),
        older,
        sets: 1 + older.books,
    }
}

/// Looks now and then: a request that ends tells nobody, since nearly none is waited for.
async fn settled(shared: &Shared) {
    while shared.rules.older().connections() > 0 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One connection, to its end.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        timeout(SILENCE, (&mut read).take(MAX_LINE).read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n") || (line.len() as u64) < MAX_LINE;
        let mut answer = match whole {
            true => answer(&line, shared).await,
            false => format!("{{\"error\":\"a line has at most {MAX_LINE} octets\"}}"),
        };
        answer.push('\n');
        timeout(SILENCE, write.write_all(answer.as_bytes())).await??;
        if !whole {
            return Ok(());
        }
    }
}
