//! The gateway as a whole: its sockets, its accept loops, its end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection::{self, Serves};
use crate::control::{self, ControlSocket};
use crate::counters::Counters;
use crate::error::GatewayError;
use crate::proxy::Shared;
use crate::rules::Rules;
use crate::settings::{Limits, MAX_HEAD_FIELDS, Settings};
use crate::upstream::Pool;

/// How long an accept loop rests after an error that is the system's and not a client's (no file
/// descriptors left): trying at once would only burn the processor.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A reverse proxy with its sockets open, ready to run.
pub struct Gateway {
    listeners: Vec<TcpListener>,
    control: ControlSocket,
    limits: Arc<Limits>,
    shared: Arc<Shared>,
}

impl Gateway {
    /// Opens the sockets and reads the rules. Nothing is accepted before [`Gateway::run`].
    ///
    /// A rules file that cannot be used is no error here: the gateway starts without rules and says so
    /// on the control socket, where whoever wrote the file sees it and can repair it. Not to start would
    /// be an outage, and would leave nobody to talk to.
    ///
    /// # Errors
    /// An address or the control socket cannot be had, or a limit is out of its range.
    pub async fn bind(settings: Settings) -> Result<Gateway, GatewayError> {
        check(&settings.limits)?;
        if settings.listen.is_empty() {
            return Err(GatewayError::NoListener);
        }
        let mut listeners = Vec::new();
        for address in settings.listen {
            let bound = TcpListener::bind(address).await;
            listeners.push(bound.map_err(|source| GatewayError::Listen { address, source })?);
        }
        let control = ControlSocket::bind(&settings.control).await?;
        let rules = Rules::new(settings.rules);
        rules.activate().await;
        let shared = Shared {
            rules,
            counters: Counters::default(),
            pool: Arc::new(Pool::new(settings.upstream, settings.limits.clone())),
            via: settings.via,
        };
        Ok(Gateway { listeners, control, limits: Arc::new(settings.limits), shared: Arc::new(shared) })
    }

    /// The addresses that clients connect to, in the order of [`Settings::listen`].
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` completes; then accepts nothing more, gives requests in progress
    /// [`Limits::drain`] to finish, and returns. Needs a tokio runtime with time and I/O.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut beside = JoinSet::new();
        beside.spawn(control::serve(self.control, self.shared.clone()));
        beside.spawn(sweep(self.shared.pool.clone()));
        let doors = self.listeners.into_iter().map(|listener| (listener, self.shared.clone()));
        serve(doors, self.limits, beside, shutdown).await;
    }
}

/// Accepts at each door until `shutdown` completes, then lets the requests in progress finish. What runs
/// `beside` ends with it.
pub(crate) async fn serve<S: Serves>(
    doors: impl IntoIterator<Item = (TcpListener, Arc<S>)>,
    limits: Arc<Limits>,
    mut beside: JoinSet<()>,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(false);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut accepting = JoinSet::new();
    for (listener, shared) in doors {
        accepting.spawn(accept(listener, permits.clone(), shared, limits.clone(), stopping.clone()));
    }
    shutdown.await;
    tracing::info!(drain = ?limits.drain, "gateway stops");
    stop.send_replace(true);
    let drained =
        tokio::time::timeout(limits.drain, async { while accepting.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!("connections were cut: they did not finish in time");
    }
    accepting.shutdown().await;
    beside.shutdown().await;
}

/// Accepts until the gateway stops, then waits for the connections. Dropping it cuts them.
async fn accept<S: Serves>(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    shared: Arc<S>,
    limits: Arc<Limits>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let for_connections = stopping.clone();
    loop {
        let next = async {
            // Before the accept: who finds no place waits in the listen queue.
            let permit = permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = next => match accepted {
                Some((permit, Ok((socket, peer)))) => {
                    let connection = connection::serve(
                        socket,
                        peer,
                        shared.clone(),
                        limits.clone(),
                        for_connections.clone(),
                    );
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
                None => break,
            },
            _ = stopping.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn sweep(pool: Arc<Pool>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        pool.sweep();
    }
}

fn check(limits: &Limits) -> Result<(), GatewayError> {
    let within = |name, found: usize, least: usize, most: usize| match (least..=most).contains(&found) {
        true => Ok(()),
        false => Err(GatewayError::Limit { name, found, least, most }),
    };
    within("head_bytes", limits.head_bytes, 1024, 1024 * 1024)?;
    within("head_fields", limits.head_fields, 1, MAX_HEAD_FIELDS)?;
    within("connections", limits.connections, 1, 1_000_000)
}
