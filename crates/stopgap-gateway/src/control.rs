//! The control socket: how the gateway is told to read its rules anew, and says which are in force.
//!
//! A Unix socket with mode 0600: the gateway's own user and root. One JSON object a line, in both
//! directions; a connection carries one request or several, answered in order. A line has at most
//! 4,096 octets, and a connection that is silent for 30 seconds is closed.
//!
//! ```text
//! > {"command":"activate"}
//! < {"active":"<sha256>","rules":1,"error":null,
//!    "settled":false,"older_connections":1,"older":{"requests":1,"tunnels":0},"sets":1}
//! > {"command":"activate","wait":10}
//! < {"active":"<sha256>","rules":1,"error":null,
//!    "settled":true,"older_connections":0,"older":{"requests":0,"tunnels":0},"sets":1}
//! > {"command":"status"}
//! < {"active":"<sha256>","rules":1,"error":null,
//!    "settled":true,"older_connections":0,"older":{"requests":0,"tunnels":0},"sets":1,
//!    "requests":7,"probes":0,"malformed":0,"refused":2,"over_limit":0,"changed":0,
//!    "by_rule":{"PowerShell - inbound":2}}
//! ```
//!
//! - `active`: SHA-256 of the octets of the rules file that is in force, in lower-case hexadecimal; of
//!   nothing (`e3b0c442…`) where the file is absent or empty.
//! - `rules`: enabled rules in force, for requests and for responses.
//! - `error`: why the file, when it was last read, was not put in force; what `active` names still is.
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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::era::Older;
use crate::error::GatewayError;
use crate::proxy::Shared;

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
            let _ = tokio::time::timeout(wait, settled(shared)).await;
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

#[cfg(unix)]
mod socket {
    use std::fs::Permissions;
    use std::io;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::path::PathBuf;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    const MAX_LINE: u64 = 4096;
    const SILENCE: Duration = Duration::from_secs(30);
    /// Connections at a time. The callers are an agent and an operator.
    const MAX_CONNECTIONS: usize = 16;

    /// The socket, open. Its path is removed when it is dropped.
    pub(crate) struct ControlSocket {
        listener: UnixListener,
        path: PathBuf,
    }

    impl ControlSocket {
        /// Opens the socket, in the place of one that a dead process left behind.
        pub(crate) async fn bind(path: &Path) -> Result<Self, GatewayError> {
            let failed = |action| {
                let path = path.to_owned();
                move |source| GatewayError::Control { path, action, source }
            };
            match std::fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("look at")(error)),
                Ok(metadata) if !metadata.file_type().is_socket() => {
                    return Err(GatewayError::ControlNotSocket { path: path.to_owned() });
                }
                Ok(_) if UnixStream::connect(path).await.is_ok() => {
                    return Err(GatewayError::ControlTaken { path: path.to_owned() });
                }
                Ok(_) => std::fs::remove_file(path).map_err(failed("replace"))?,
            }
            let listener = UnixListener::bind(path).map_err(failed("open"))?;
            // Until here the umask holds, and none in use lets others write, which connecting needs.
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("protect"))?;
            Ok(ControlSocket { listener, path: path.to_owned() })
        }
    }

    impl Drop for ControlSocket {
        fn drop(&mut self) {
            if let Err(error) = std::fs::remove_file(&self.path) {
                tracing::debug!(%error, path = %self.path.display(), "control socket");
            }
        }
    }

    pub(crate) async fn serve(socket: ControlSocket, shared: Arc<Shared>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = socket.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let shared = shared.clone();
                        connections.spawn(async move {
                            if let Err(error) = converse(stream, &shared).await {
                                tracing::debug!(%error, "control connection");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "control socket");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
    }

    async fn converse(stream: UnixStream, shared: &Shared) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
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
}

#[cfg(unix)]
pub(crate) use socket::{ControlSocket, serve};

#[cfg(not(unix))]
mod socket {
    //! Nothing yet on other systems: the rules are those of the start.
    use super::*;

    pub(crate) struct ControlSocket;

    impl ControlSocket {
        pub(crate) async fn bind(path: &Path) -> Result<Self, GatewayError> {
            let source = std::io::ErrorKind::Unsupported.into();
            Err(GatewayError::Control { path: path.to_owned(), action: "open", source })
        }
    }

    pub(crate) async fn serve(_: ControlSocket, shared: Arc<Shared>) {
        let _ = answer(b"", &shared).await;
        std::future::pending().await
    }
}

#[cfg(not(unix))]
pub(crate) use socket::{ControlSocket, serve};
