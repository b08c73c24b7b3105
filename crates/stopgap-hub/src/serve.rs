//! The hub as a server: its routes behind a door (`stopgap-door`), limits, and an orderly end.

mod again;
mod authority;
mod door;
mod headers;
mod health;
mod housekeeping;
mod metrics;
mod origin;
mod patience;
mod quick;

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use futures_util::future::Either;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use stopgap_door::{Limits, Patience, TlsError};
use tokio::net::TcpListener;

use crate::db::{Db, DbError};
use crate::events::SERVICE;
use crate::state::AppState;
use crate::{Settings, agents, api, console, tell};
use door::Door;

pub use door::TlsFiles;
pub use metrics::Metrics;
pub use origin::Proxies;

/// A request head comes within this time, or the connection is closed; it also ends idle ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of a request head.
const HEAD_MAX: usize = 16 * 1024;
/// Octets of a body where a route says nothing else: settings with a thousand blocks are below it.
const BODY_MAX: usize = 256 * 1024;
/// How long open answers may take to end after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// A reader has an answer whole within this time: the largest document of the mirror at 256 kbit/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a hub does not run.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The store.
    #[error("cannot open the hub's database")]
    Db(#[from] DbError),
    /// The address is taken, not this machine's, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or key for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What `hub.toml` says of who is told.
    #[error("{0}")]
    Settings(String),
}

/// A bound hub: it accepts from now on and answers once [`Hub::run`] runs.
pub struct Hub {
    listener: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
    limits: Limits,
    state: AppState,
}

impl Hub {
    /// Opens the store, brings its tables up to date, and takes the address.
    pub async fn bind(settings: Settings) -> Result<Hub, HubError> {
        let receivers = tell::receivers(&settings.data).map_err(HubError::Settings)?;
        let proxies = Proxies::load(&settings.data).map_err(HubError::Settings)?;
        let db = Db::open(&settings.data, settings.database.as_deref()).await?;
        let door = Arc::new(Door::new(&settings)?);
        let listen = |source| HubError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let pin = door.pin()?;
        // The command line makes enrollment tokens too, and has only the database.
        if db.pin().await? != pin {
            db.set_pin(pin.as_deref()).await?;
        }
        let tell = tell::Shared::new(receivers);
        let bounds = settings.bounds;
        let limits = Limits {
            connections: bounds.connections,
            per_address: bounds.per_address,
            head: HEAD_TIMEOUT,
            head_max: HEAD_MAX,
            patience: Patience { nothing: bounds.write_timeout, answer: ANSWER_TIMEOUT },
        };
        let state =
            AppState::new(db, settings.data, door.is_secure(), pin, tell, proxies, bounds.streams()).await?;
        Ok(Hub { listener, address, door, limits, state })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `https://` or `http://`, and the address.
    pub fn url(&self) -> String {
        let scheme = if self.door.is_secure() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// What its handlers share.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until `shutdown` resolves, then ends the streams and lets open answers finish.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        tracing::info!(event = SERVICE, "the hub serves on {}", self.url());
        let Hub { listener, door, limits, state, .. } = self;
        let background = [
            tokio::spawn(agents::run(state.clone())),
            tokio::spawn(tell::run(state.clone())),
            tokio::spawn(housekeeping::run(state.clone(), Arc::clone(&door))),
        ];
        let graceful = GracefulShutdown::new();
        let router = TowerToHyperService::new(router(state.clone()));
        let accept = stopgap_door::accept(&listener, &door.door, limits, &graceful, |peer| {
            door.door.look();
            From { router: router.clone(), state: state.clone(), peer: Peer(peer) }
        });
        tokio::select! {
            () = shutdown => {}
            () = accept => {}
        }
        state.stopping.send_replace(true);
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::debug!("open answers did not end within {DRAIN:?}");
        }
        for task in background {
            if tokio::time::timeout(DRAIN, task).await.is_err() {
                tracing::warn!(event = SERVICE, "background work did not end within {DRAIN:?}");
            }
        }
        state.db.close().await;
        tracing::info!(event = SERVICE, "the hub stopped");
    }
}

/// Every route of the hub.
pub fn router(state: AppState) -> Router {
    Router::new()
        .merge(health::router())
        .merge(metrics::router())
        .nest("/v1", api::router().merge(tell::router()))
        .nest("/v1/agent", agents::router())
        .merge(console::router())
        .fallback(api::nothing)
        .method_not_allowed_fallback(api::other_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::from_fn(again::once_more))
        .layer(axum::middleware::from_fn(patience::bounded))
        .layer(axum::middleware::from_fn_with_state(state.clone(), headers::add))
        .layer(axum::middleware::from_fn_with_state(state.clone(), metrics::count))
        .with_state(state)
}

/// The router with the peer beside each request, behind what needs no route. A layer for that would be a copy of every
/// route for each connection.
struct From {
    router: TowerToHyperService<Router>,
    state: AppState,
    peer: Peer,
}

impl Service<Request<Incoming>> for From {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = Either<
        Ready<Result<Self::Response, Self::Error>>,
        <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future,
    >;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(response) = quick::answer(&self.state, &request) {
            return Either::Left(ready(Ok(response)));
        }
        request.extensions_mut().insert(self.peer);
        Either::Right(self.router.call(request))
    }
}

/// Where a connection comes from: the socket's peer, which may be a proxy.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);
