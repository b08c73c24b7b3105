//! A connection's lower half: plain or TLS, and an end for readers that take nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

/// A connection that is ready for requests.
pub(crate) enum Opened {
    Plain(TokioIo<Limited>),
    Tls(Box<TokioIo<TlsStream<Limited>>>),
}

impl Read for Opened {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

/// How long the server waits for a reader.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// That takes nothing.
    pub nothing: Duration,
    /// That takes an answer piece by piece.
    pub answer: Duration,
}

/// A socket whose writes fail once nothing could be written for a while, or once an answer takes too long as a whole:
/// a reader that takes nothing, or an octet now and then, would otherwise hold its place for ever.
pub(crate) struct Limited {
    stream: TcpStream,
    patience: Patience,
    /// There while something waits: most connections wait for their reader never, and a timer is some hundred octets.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when there was always something left to write.
    behind: Option<Instant>,
}

impl Limited {
    pub(crate) fn new(stream: TcpStream, patience: Patience) -> Self {
        Self { stream, patience, timer: None, behind: None }
    }

    /// Passes on what a write came to, unless it has waited too long.
    fn within<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.timer = None;
            return wrote;
        }
        let Patience { nothing, answer } = self.patience;
        let behind = &mut self.behind;
        let timer = self.timer.get_or_insert_with(|| {
            let now = Instant::now();
            let behind = *behind.get_or_insert(now);
            Box::pin(sleep_until((now + nothing).min(behind + answer)))
        });
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes too little")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Limited {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.within(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // Whoever writes flushes when nothing is left.
        if flushed.is_ready() {
            self.behind = None;
        }
        self.within(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(cx, shut)
    }
}
