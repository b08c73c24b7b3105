//! A connection's lower half: TLS where it is asked for, and an end for readers that take nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::ServeError;
use crate::key::read_private;

/// The files that TLS needs, both PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first, then intermediates.
    pub certificates: PathBuf,
    /// Its key, which its owner alone can read.
    pub key: PathBuf,
}

/// Where connections come in: as they are, or through TLS.
pub(super) enum Door {
    Open,
    Tls {
        files: TlsFiles,
        seen: ArcSwap<Option<[SystemTime; 2]>>,
        acceptor: ArcSwap<Acceptor>,
        /// Why the newest files were not taken over; said once.
        refused: ArcSwap<Option<String>>,
    },
}

/// What makes connections of one certificate.
pub(super) struct Acceptor(TlsAcceptor);

impl Door {
    pub(super) fn new(files: Option<TlsFiles>) -> Result<Self, ServeError> {
        let Some(files) = files else { return Ok(Self::Open) };
        let seen = ArcSwap::from_pointee(times(&files));
        let acceptor = ArcSwap::from_pointee(acceptor(&files)?);
        Ok(Self::Tls { files, seen, acceptor, refused: ArcSwap::default() })
    }

    /// Takes over a new certificate. One that does not fit its key (half of a renewal) waits for the other half.
    pub(super) fn look(&self) {
        let Self::Tls { files, seen, acceptor: current, refused } = self else { return };
        let now = times(files);
        // What was refused is tried again: a key that others could read has the same time when they no longer can.
        if now == **seen.load() && refused.load().is_none() {
            return;
        }
        seen.store(Arc::new(now));
        let error = match acceptor(files) {
            Ok(new) => {
                tracing::info!(certificate = %files.certificates.display(), "TLS: a new certificate");
                current.store(Arc::new(new));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error.as_ref().filter(|error| refused.load().as_ref().as_ref() != Some(*error)) {
            tracing::warn!(error, "the certificate before it stays");
        }
        refused.store(Arc::new(error));
    }

    pub(super) async fn open(&self, stream: Limited) -> io::Result<Opened> {
        match self {
            Self::Open => Ok(Opened::Plain(TokioIo::new(stream))),
            Self::Tls { acceptor, .. } => {
                let acceptor = acceptor.load().0.clone();
                Ok(Opened::Tls(Box::new(TokioIo::new(acceptor.accept(stream).await?))))
            }
        }
    }
}

fn times(files: &TlsFiles) -> Option<[SystemTime; 2]> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    Some([time(&files.certificates)?, time(&files.key)?])
}

fn acceptor(files: &TlsFiles) -> Result<Acceptor, ServeError> {
    let wrong = |path: &Path, reason: String| ServeError::Tls { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|error| wrong(&files.certificates, error.to_string()))?;
    let key = read_private(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
    if key.contains("ENCRYPTED PRIVATE KEY") {
        let reason = "a passphrase protects it, and nobody is there to ask when it is renewed: expected a key in the clear, mode 600";
        return Err(wrong(&files.key, reason.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| wrong(&files.key, error.to_string()))?;
    let config = |error: rustls::Error| wrong(&files.certificates, error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(config)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(config)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
}

/// A connection that is ready for requests.
pub(super) enum Opened {
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
pub(super) struct Patience {
    /// That takes nothing.
    pub(super) nothing: Duration,
    /// That takes an answer piece by piece.
    pub(super) answer: Duration,
}

/// A socket whose writes fail once nothing could be written for a while, or once an answer takes too long as a whole:
/// a reader that takes nothing, or an octet now and then, would otherwise hold its place for ever.
pub(super) struct Limited {
    stream: TcpStream,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    /// Since when there was always something left to write.
    behind: Option<Instant>,
}

impl Limited {
    pub(super) fn new(stream: TcpStream, patience: Patience) -> Self {
        let timer = Box::pin(tokio::time::sleep(patience.nothing));
        Self { stream, patience, timer, waiting: false, behind: None }
    }

    /// Passes on what a write came to, unless it has waited too long.
    fn within<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = false;
            return wrote;
        }
        if !self.waiting {
            self.waiting = true;
            let now = Instant::now();
            let behind = *self.behind.get_or_insert(now);
            self.timer.as_mut().reset((now + self.patience.nothing).min(behind + self.patience.answer));
        }
        match self.timer.as_mut().poll(cx) {
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
