//! Connections to the origin: made, used for one request at a time, kept for the next.
//!
//! A request without a body goes over a [`Wire`], which the task of the client connection drives: no
//! second task, no wake-up between threads, no copy of its fields for a repetition. Where there is a
//! body, response and request may flow at the same time: that is the HTTP library's work (`upload.rs`),
//! and so is an upgrade.

mod body;
mod chunks;
mod upload;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::settings::{Limits, Upstream};
use crate::socket::Socket;

pub(crate) use body::WireBody;
pub(crate) use upload::{Upload, Uploader};
pub(crate) use wire::{Wire, WireError};

/// Idle connections to the one origin, newest last.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Upstream,
    limits: Limits,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    wires: Queue<Wire>,
    uploaders: Queue<Uploader>,
}

impl Idle {
    /// Closes the connection that was idle for longest; false where there is none.
    fn drop_oldest(&mut self) -> bool {
        let since = |front: Option<Instant>| front.map_or((true, None), |since| (false, Some(since)));
        let wire = since(self.wires.front().map(|(since, _)| *since));
        let uploader = since(self.uploaders.front().map(|(since, _)| *since));
        if wire <= uploader { self.wires.pop_front().is_some() } else { self.uploaders.pop_front().is_some() }
    }
}

/// With the time since when each is idle.
type Queue<T> = VecDeque<(Instant, T)>;

/// Why the origin gave no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("cannot connect to {upstream}")]
    Connect { upstream: Upstream, source: io::Error },
    #[error("{upstream} did not accept a connection in time")]
    ConnectTimeout { upstream: Upstream },
    #[error("{upstream} closed the connection or sent no HTTP response")]
    Exchange { upstream: Upstream, source: WireError },
    #[error("{upstream} closed the connection or sent no HTTP response")]
    Upload { upstream: Upstream, source: hyper::Error },
    #[error("the origin was silent for too long")]
    Silent,
    #[error("the origin sent a transfer coding that was not asked for")]
    Coding,
    #[error("the origin switched protocols, which was not asked for")]
    Switched,
    #[error("rule {rule:?} cannot be applied to the response (over the limit of steps: {over_limit})")]
    Withheld { rule: String, over_limit: bool },
}

impl OriginError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            OriginError::Connect { .. } => "origin-connect",
            OriginError::ConnectTimeout { .. } => "origin-connect-timeout",
            OriginError::Exchange { .. } | OriginError::Upload { .. } => "origin-exchange",
            OriginError::Silent => "origin-silent",
            OriginError::Coding => "origin-transfer-coding",
            OriginError::Switched => "origin-switched-protocols",
            OriginError::Withheld { .. } => "response-withheld",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            OriginError::ConnectTimeout { .. } | OriginError::Silent => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

impl Pool {
    pub(crate) fn new(upstream: Upstream, limits: Limits) -> Self {
        Pool { upstream, limits, idle: Mutex::default() }
    }

    /// Sends a request without a body over an idle connection, or a new one.
    ///
    /// A kept connection may have been closed by the origin at the moment when it is used. The request
    /// is then sent again, once and on a new connection, if it is idempotent (RFC 9110, 9.2.2; RFC 9112,
    /// 9.3.1) and no response had begun.
    pub(crate) async fn send(
        &self,
        request: &http::request::Parts,
    ) -> Result<Response<WireBody>, OriginError> {
        let head = wire::head(request);
        if let Some(wire) = self.checkout(|idle| &mut idle.wires, Wire::is_quiet) {
            match wire.exchange(&head, &request.method).await {
                Ok(response) => return Ok(response),
                Err((_, true)) if request.method.is_idempotent() => {}
                Err((source, _)) => return Err(self.exchange_error(source)),
            }
        }
        self.send_fresh(&head, &request.method).await
    }

    async fn send_fresh(&self, head: &[u8], method: &Method) -> Result<Response<WireBody>, OriginError> {
        let wire = Wire::new(self.connect().await?);
        wire.exchange(head, method).await.map_err(|(source, _)| self.exchange_error(source))
    }

    /// Sends a request with a body. It is sent again only where none of it was sent.
    pub(crate) async fn upload(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Uploader), OriginError> {
        let kept = match self.checkout(|idle| &mut idle.uploaders, Uploader::is_ready) {
            Some(uploader) => Some(uploader),
            None => match self.checkout(|idle| &mut idle.wires, Wire::is_quiet) {
                Some(wire) => Some(self.start(wire.into_socket()).await?),
                None => None,
            },
        };
        if let Some(mut uploader) = kept {
            match uploader.try_send_request(request).await {
                Ok(response) => return Ok((response, uploader)),
                Err(mut failed) => match failed.take_message() {
                    Some(again) => request = again,
                    None => return Err(self.upload_error(failed.into_error())),
                },
            }
        }
        let mut uploader = self.start(self.connect().await?).await?;
        let response = uploader.send_request(request).await.map_err(|source| self.upload_error(source))?;
        Ok((response, uploader))
    }

    /// Sends a request that may end in an upgrade, over a connection of its own.
    pub(crate) async fn send_upgrade(
        &self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, OriginError> {
        let (mut uploader, connection) = self.shake_hands(self.connect().await?).await?;
        tokio::spawn(connection.with_upgrades());
        uploader.send_request(request).await.map_err(|source| self.upload_error(source))
    }

    fn exchange_error(&self, source: WireError) -> OriginError {
        match source {
            WireError::Coding => OriginError::Coding,
            source => OriginError::Exchange { upstream: self.upstream.clone(), source },
        }
    }

    fn upload_error(&self, source: hyper::Error) -> OriginError {
        OriginError::Upload { upstream: self.upstream.clone(), source }
    }

    async fn connect(&self) -> Result<TcpStream, OriginError> {
        let upstream = || self.upstream.clone();
        let connect = TcpStream::connect((self.upstream.host(), self.upstream.port()));
        let stream = match tokio::time::timeout(self.limits.connect, connect).await {
            Err(_) => return Err(OriginError::ConnectTimeout { upstream: upstream() }),
            Ok(Err(source)) => return Err(OriginError::Connect { upstream: upstream(), source }),
            Ok(Ok(stream)) => stream,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY toward the origin");
        }
        Ok(stream)
    }

    async fn start(&self, stream: TcpStream) -> Result<Uploader, OriginError> {
        let (uploader, connection) = self.shake_hands(stream).await?;
        tokio::spawn(connection);
        Ok(uploader)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
    ) -> Result<(Uploader, Connection<TokioIo<Socket>, Upload>), OriginError> {
        handshake(TokioIo::new(Socket(stream))).await.map_err(|source| self.upload_error(source))
    }

    /// The newest connection that is young enough and usable.
    fn checkout<T>(&self, of: impl Fn(&mut Idle) -> &mut Queue<T>, usable: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let (since, connection) = of(&mut self.lock()).pop_back()?;
            if since.elapsed() < self.limits.upstream_idle_time && usable(&connection) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose response was read to its end.
    pub(crate) fn keep(&self, wire: Wire) {
        self.checkin(|idle| &mut idle.wires, wire);
    }

    /// Keeps a connection whose response was read to its end; its task may still have to notice that.
    pub(crate) fn keep_uploader(&self, uploader: Uploader) {
        if !uploader.is_closed() {
            self.checkin(|idle| &mut idle.uploaders, uploader);
        }
    }

    /// Keeps the newest: where there are enough, the one that was idle for longest makes room, whichever kind it
    /// is of.
    fn checkin<T>(&self, of: impl Fn(&mut Idle) -> &mut Queue<T>, connection: T) {
        let mut idle = self.lock();
        if idle.wires.len() + idle.uploaders.len() >= self.limits.upstream_idle && !idle.drop_oldest() {
            return;
        }
        of(&mut idle).push_back((Instant::now(), connection));
    }

    /// Closes connections that were idle for too long. To be called now and then: nobody looks at an
    /// idle connection that is not used.
    pub(crate) fn sweep(&self) {
        let mut idle = self.lock();
        self.sweep_out(&mut idle.wires);
        self.sweep_out(&mut idle.uploaders);
    }

    fn sweep_out<T>(&self, queue: &mut Queue<T>) {
        while queue.front().is_some_and(|(since, _)| since.elapsed() >= self.limits.upstream_idle_time) {
            queue.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
