//! The door that `feed serve` and the hub share: who comes in, through TLS or not, for how long, and how many at a
//! time. HTTP/1.1 alone: agents hold one stream each, and whoever wants HTTP/2 has a proxy in front.
//!
//! ```text
//! accept ──> a place (in all, of one address) ──> TLS ──> a head in time ──> the caller's service
//!                                                          writes that end where nobody reads
//! ```
//!
//! Not in this crate: what is answered. A bound that is met costs a stranger a wait or a closed connection, never
//! the process its memory.

mod limited;
mod places;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use limited::Limited;
use places::Places;

pub use limited::Patience;
pub use tls::{Door, KeyReader, TlsError, TlsFiles};

/// After a failed `accept` (no file descriptors left) the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What bounds whoever comes in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. Further ones wait in the system's queue.
    pub connections: usize,
    /// Connections of one address at a time, of IPv6 one /64. Further ones are closed.
    pub per_address: usize,
    /// A TLS handshake, and then a request head, comes within this time, or the connection is closed; it also ends
    /// idle ones.
    pub head: Duration,
    /// Octets of a request head; at least 8192.
    pub head_max: usize,
    /// How long a reader is waited for.
    pub patience: Patience,
}

/// Lets connections in until it is dropped. `service`: what answers a connection from this address.
pub async fn accept<F, S, B>(
    listener: &TcpListener,
    door: &Arc<Door>,
    limits: Limits,
    graceful: &GracefulShutdown,
    mut service: F,
) where
    F: FnMut(SocketAddr) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let places = Places::new(limits.connections, limits.per_address);
    loop {
        let room = places.room().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(room, peer.ip()) else {
            tracing::debug!(address = %peer.ip(), "too many connections of one address");
            continue;
        };
        // An event is one small segment that must not wait for the next.
        let _ = stream.set_nodelay(true);
        let stream = Limited::new(stream, limits.patience);
        let (service, door, watcher) = (service(peer), Arc::clone(door), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            // A future of its own on the heap: what a handshake needs is not kept for as long as the connection.
            let opening = Box::pin(tokio::time::timeout(limits.head, door.open(stream)));
            let opened = match opening.await {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => return tracing::debug!(%error, "no TLS with this client"),
                Err(_) => return tracing::debug!("a client did not finish its TLS handshake"),
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(limits.head_max)
                .serve_connection(opened, service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}
