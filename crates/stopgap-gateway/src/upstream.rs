//! Connections to the origin: made, used for one request at a time, kept for the next.
//!
//! A connection without a request body to send is driven by the task of the client connection that
//! uses it: no second task, no wake-up between threads. Where there is a body, response and request
//! may flow at the same time, so the connection gets a task of its own.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::settings::{Limits, Upstream};
use crate::socket::Socket;

/// Idle connections to the one origin, newest last.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Upstream,
    limits: Limits,
    idle: Mutex<VecDeque<(Instant, Link)>>,
}

/// Why the origin gave no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("cannot connect to {upstream}")]
    Connect { upstream: Upstream, source: io::Error },
    #[error("{upstream} did not accept a connection in time")]
    ConnectTimeout { upstream: Upstream },
    #[error("{upstream} closed the connection or sent no HTTP response")]
    Exchange { upstream: Upstream, source: hyper::Error },
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
            OriginError::Exchange { .. } => "origin-exchange",
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

    /// Sends a request over an idle connection, or a new one. The response comes with its connection
    /// where the body is still to be read from it.
    ///
    /// A kept connection may have been closed by the origin at the moment when it is used. The request
    /// is then sent again, once and on a new connection, if none of it was sent, or if it is
    /// idempotent and without a body (RFC 9110, 9.2.2; RFC 9112, 9.3.1) and no response had begun.
    pub(crate) async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Link), OriginError> {
        if let Some(link) = self.checkout() {
            let repeatable = request.method().is_idempotent() && request.body().is_end_stream();
            let copy = repeatable.then(|| copy_of(&request));
            match link.exchange(request).await {
                Ok(exchange) => return Ok(exchange),
                Err((source, unsent)) => match unsent.or(copy) {
                    Some(again) => request = again,
                    None => return Err(OriginError::Exchange { upstream: self.upstream.clone(), source }),
                },
            }
        }
        self.send_fresh(request).await
    }

    async fn send_fresh(&self, request: Request<Upload>) -> Result<(Response<Incoming>, Link), OriginError> {
        let (sender, connection) = self.connect().await?;
        let link = Link { sender, driver: Driver::Here(Box::new(connection)) };
        link.exchange(request).await.map_err(|(source, _)| self.exchange_error(source))
    }

    /// Sends a request that may end in an upgrade, over a connection of its own.
    pub(crate) async fn send_upgrade(
        &self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, OriginError> {
        let (mut sender, connection) = self.connect().await?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(|source| self.exchange_error(source))
    }

    fn exchange_error(&self, source: hyper::Error) -> OriginError {
        OriginError::Exchange { upstream: self.upstream.clone(), source }
    }

    async fn connect(&self) -> Result<(SendRequest<Upload>, OriginConnection), OriginError> {
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
        handshake(TokioIo::new(Socket(stream))).await.map_err(|source| self.exchange_error(source))
    }

    fn checkout(&self) -> Option<Link> {
        // Nobody is to be woken for what happens on a connection before it has a request.
        let mut asleep = Context::from_waker(Waker::noop());
        loop {
            let (since, mut link) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()?;
            if since.elapsed() >= self.limits.upstream_idle_time {
                continue;
            }
            // Polled here, the connection notices that the origin has closed it.
            link.drive(&mut asleep);
            if link.sender.is_ready() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection whose response was read to its end.
    pub(crate) fn checkin(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if link.is_open() && idle.len() < self.limits.upstream_idle {
            idle.push_back((Instant::now(), link));
        }
    }

    /// Closes connections that were idle for too long. To be called now and then: nobody looks at an
    /// idle connection that is not used.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while idle.front().is_some_and(|(since, _)| since.elapsed() >= self.limits.upstream_idle_time) {
            idle.pop_front();
        }
    }
}

fn copy_of(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

type OriginConnection = Connection<TokioIo<Socket>, Upload>;

/// One connection to the origin.
#[derive(Debug)]
pub(crate) struct Link {
    sender: SendRequest<Upload>,
    driver: Driver,
}

/// Who polls a connection.
#[derive(Debug)]
enum Driver {
    /// Boxed: a link is handed around for every request.
    Here(Box<OriginConnection>),
    Task,
    Closed,
}

impl Link {
    /// Lets octets move, where nobody else does.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Driver::Here(connection) = &mut self.driver
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.driver = Driver::Closed;
        }
    }

    /// Whether the response was read whole, and the connection waits for the next request.
    pub(crate) fn is_idle(&self) -> bool {
        self.sender.is_ready()
    }

    fn is_open(&self) -> bool {
        match self.driver {
            Driver::Here(_) => self.sender.is_ready(),
            // The task may still have to notice that the response is over.
            Driver::Task => !self.sender.is_closed(),
            Driver::Closed => false,
        }
    }

    async fn exchange(
        mut self,
        request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Link), (hyper::Error, Option<Request<Upload>>)> {
        if !request.body().is_end_stream() {
            match std::mem::replace(&mut self.driver, Driver::Task) {
                Driver::Here(connection) => drop(tokio::spawn(*connection)),
                other => self.driver = other,
            }
        }
        let mut response = std::pin::pin!(self.sender.try_send_request(request));
        let result = std::future::poll_fn(|cx| match self.driver {
            Driver::Task => response.as_mut().poll(cx),
            // Only the line before can complete the response, so it need not wake us, and every
            // needless turn of the whole connection is saved.
            Driver::Here(_) | Driver::Closed => {
                self.drive(cx);
                response.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            }
        });
        match result.await {
            Ok(response) => Ok((response, self)),
            Err(mut failed) => {
                let unsent = failed.take_message();
                Err((failed.into_error(), unsent))
            }
        }
    }
}

/// A request body on its way to the origin.
#[derive(Debug)]
pub(crate) enum Upload {
    Empty,
    Stream(Incoming),
}

impl From<Incoming> for Upload {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() { Upload::Empty } else { Upload::Stream(body) }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Upload::Empty => Poll::Ready(None),
            Upload::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Upload::Empty => true,
            Upload::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Upload::Empty => SizeHint::with_exact(0),
            Upload::Stream(body) => body.size_hint(),
        }
    }
}
