//! The control socket where there are Unix sockets.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{MAX_CONNECTIONS, converse};
use crate::error::GatewayError;
use crate::proxy::Shared;

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
