//! Why a gateway does not start. Faults of one request or connection are no errors: they are answered,
//! logged and counted.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// [`Settings::listen`](crate::Settings::listen) is empty.
    #[error("no address to listen on")]
    NoListener,
    /// An address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A limit is out of its range.
    #[error("limit {name}: expected {least} to {most}, found {found}")]
    Limit {
        /// The field of [`Limits`](crate::Limits).
        name: &'static str,
        /// Its value.
        found: usize,
        /// The least.
        least: usize,
        /// The most.
        most: usize,
    },
    /// Something answers on the control socket already.
    #[error("control socket {}: another process listens there", path.display())]
    ControlTaken {
        /// The socket.
        path: PathBuf,
    },
    /// There is something at the path of the control socket, and it is not a socket.
    #[error("control socket {}: expected nothing or a socket, found another kind of file", path.display())]
    ControlNotSocket {
        /// The path.
        path: PathBuf,
    },
    /// The control socket cannot be made.
    #[error("control socket {}: cannot {action} it", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl GatewayError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            GatewayError::NoListener => "no-listener",
            GatewayError::Listen { .. } => "listen",
            GatewayError::Limit { .. } => "limit",
            GatewayError::ControlTaken { .. } => "control-taken",
            GatewayError::ControlNotSocket { .. } => "control-not-a-socket",
            GatewayError::Control { .. } => "control",
        }
    }
}
