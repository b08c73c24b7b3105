//! One client connection from accept to close: HTTP, then perhaps a tunnel; ended by the client, by
//! the watchdog or by the gateway's own end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::HeaderValue;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
use crate::framing::{Framing, FramingLimits};
use crate::guard::Guard;
use crate::proxy::Client;
use crate::settings::Limits;
use crate::socket::Socket;
use crate::state::ConnectionState;
use crate::watchdog::{Finding, Watchdog};

/// The least that hyper accepts as the bound of its read buffer, beside a head.
const READ_BUFFER: usize = 400 * 1024;

/// Who answers the requests of a connection.
pub(crate) trait Serves: Send + Sync + Sized + 'static {
    /// Answers one request. Never returns for one that is aborted: the guard ends the connection.
    fn handle(
        client: Arc<Client<Self>>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + Send;
}

/// Serves one connection to its end. When `stopping` turns true, what is in progress is finished and
/// the connection closed.
pub(crate) async fn serve<S: Serves>(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<S>,
    limits: Arc<Limits>,
    mut stopping: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY");
    }
    let (Ok(local), Ok(address)) =
        (socket.local_addr(), HeaderValue::try_from(peer.ip().to_canonical().to_string()))
    else {
        return; // The client has gone already.
    };
    let state = Arc::new(ConnectionState::default());
    let framing = Framing::new(FramingLimits { bytes: limits.head_bytes, fields: limits.head_fields });
    let guard = Guard::new(Socket(socket), framing, state.clone());
    let client = Arc::new(Client { shared, state: state.clone(), peer, local, address });
    let service = service_fn(move |request| S::handle(client.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .header_read_timeout(None) // The watchdog's.
            .max_buf_size(READ_BUFFER.max(2 * limits.head_bytes))
            .serve_connection(TokioIo::new(guard), service)
            .with_upgrades()
    );
    let mut watchdog = Watchdog::new(&limits);
    let mut timer = pin!(sleep(watchdog.tick()));
    let mut stop = pin!(async move { stopping.wait_for(|stopping| *stopping).await.is_ok() });
    let mut stopped = false;

    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                return Poll::Ready(());
            }
            if !stopped && stop.as_mut().poll(cx).is_ready() {
                stopped = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(Instant::now() + watchdog.tick());
            match watchdog.check(&state, &limits) {
                Finding::Fine => {}
                Finding::OriginSilent => state.expire_origin(),
                Finding::TooLong(waiting) => {
                    tracing::debug!(%peer, ?waiting, "connection ended: waited too long");
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;

    if let Some(tunnel) = state.take_tunnel() {
        tunnel.run(state, limits.tunnel).await;
    }
}
