//! A connection's lower half: TLS where it is asked for, with a certificate that may be renewed at any time.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::HubError;
use super::authority::Authority;
use crate::Settings;

/// The files that TLS needs, both PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The hub's certificate first, then intermediates.
    pub certificates: PathBuf,
    /// Its key, in the clear, which its owner alone can read.
    pub key: PathBuf,
}

/// Where connections come in: as they are, or through TLS.
pub(super) enum Door {
    Open,
    Tls {
        files: TlsFiles,
        /// Where the certificate is of the hub's own authority.
        own: Option<Authority>,
        seen: ArcSwap<Option<[SystemTime; 2]>>,
        acceptor: ArcSwap<Acceptor>,
    },
}

/// What makes connections of one certificate.
pub(super) struct Acceptor(TlsAcceptor);

impl Door {
    pub(super) fn new(settings: &Settings) -> Result<Door, HubError> {
        let (files, own) = match &settings.tls {
            Some(files) => (files.clone(), None),
            None if settings.listen.ip().is_loopback() && settings.names.is_empty() => return Ok(Door::Open),
            None => {
                let own = Authority::open(settings, Timestamp::now())?;
                (own.files(), Some(own))
            }
        };
        let seen = ArcSwap::from_pointee(times(&files));
        let acceptor = ArcSwap::from_pointee(acceptor(&files)?);
        Ok(Door::Tls { files, own, seen, acceptor })
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self, Door::Tls { .. })
    }

    /// SHA-256, in hex, of the certificate of the hub's own authority, where it serves with that.
    pub(super) fn pin(&self) -> Result<Option<String>, HubError> {
        match self {
            Door::Tls { own: Some(own), .. } => own.pin().map(Some),
            Door::Tls { own: None, .. } | Door::Open => Ok(None),
        }
    }

    /// Renews a certificate of the hub's own authority in good time.
    pub(super) fn renew(&self, now: Timestamp) {
        let Door::Tls { own: Some(own), .. } = self else { return };
        if let Err(error) = own.look(now) {
            tracing::warn!(%error, "the hub's certificate could not be renewed");
        }
    }

    /// Takes over a new certificate. One that does not fit its key (half of a renewal) waits for the other half.
    fn look(&self) {
        let Door::Tls { files, seen, acceptor: current, .. } = self else { return };
        let now = times(files);
        if now == **seen.load() {
            return;
        }
        match acceptor(files) {
            Ok(new) => {
                tracing::info!(certificate = %files.certificates.display(), "TLS: a new certificate");
                current.store(Arc::new(new));
                seen.store(Arc::new(now));
            }
            Err(error) => tracing::debug!(%error, "the certificate before it stays"),
        }
    }

    pub(super) async fn open(&self, stream: TcpStream) -> io::Result<Opened> {
        match self {
            Door::Open => Ok(Opened::Plain(stream)),
            Door::Tls { acceptor, .. } => {
                self.look();
                let acceptor = acceptor.load().0.clone();
                Ok(Opened::Tls(Box::new(acceptor.accept(stream).await?)))
            }
        }
    }
}

fn times(files: &TlsFiles) -> Option<[SystemTime; 2]> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    Some([time(&files.certificates)?, time(&files.key)?])
}

fn acceptor(files: &TlsFiles) -> Result<Acceptor, HubError> {
    let wrong = |path: &Path, reason: String| HubError::Tls { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|error| wrong(&files.certificates, error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error.to_string()))?;
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
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Opened::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Opened::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Opened::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Opened::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Opened::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Opened::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Opened::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Opened::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
