//! The control socket on Windows: a pipe. Without a security descriptor of its own a pipe may be written to by
//! administrators, the system and the user that made it, and only read by others (CreateNamedPipe, "Security attributes"),
//! who then cannot ask anything.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};
use tokio::task::JoinSet;

use super::{MAX_CONNECTIONS, converse};
use crate::error::GatewayError;
use crate::proxy::Shared;

/// The pipe, with one end open for the next caller.
pub(crate) struct ControlSocket {
    next: NamedPipeServer,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the pipe. It ends with this process, so that no dead one leaves anything behind.
    pub(crate) async fn bind(path: &Path) -> Result<Self, GatewayError> {
        match end(path, true) {
            Ok(next) => Ok(ControlSocket { next, path: path.to_owned() }),
            // Somebody else has made a pipe of this name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(GatewayError::ControlTaken { path: path.to_owned() })
            }
            Err(source) => Err(GatewayError::Control { path: path.to_owned(), action: "open", source }),
        }
    }
}

/// The name of the pipe that stands for a socket at `path`; the agent (`stopgap-drivers`, `host/pipe.rs`) finds it by it.
fn end(path: &Path, first: bool) -> io::Result<NamedPipeServer> {
    let name =
        format!("\\\\.\\pipe\\{}", path.to_string_lossy().to_lowercase().replace(['\\', '/', ':'], "-"));
    // Callers of other machines are refused: that is the default, and said here because it counts.
    ServerOptions::new().first_pipe_instance(first).reject_remote_clients(true).create(name)
}

pub(crate) async fn serve(socket: ControlSocket, shared: Arc<Shared>) {
    let ControlSocket { mut next, path } = socket;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            connected = next.connect(), if connections.len() < MAX_CONNECTIONS => {
                let fresh = loop {
                    match end(&path, false) {
                        Ok(fresh) => break fresh,
                        Err(error) => {
                            tracing::warn!(%error, "control pipe");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                };
                let stream = std::mem::replace(&mut next, fresh);
                if let Err(error) = connected {
                    tracing::warn!(%error, "control pipe");
                    continue;
                }
                let shared = shared.clone();
                connections.spawn(async move {
                    if let Err(error) = converse(stream, &shared).await {
                        tracing::debug!(%error, "control connection");
                    }
                });
            }
        }
    }
}
