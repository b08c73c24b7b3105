//! TLS with a certificate that may be renewed at any time, or none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::limited::{Limited, Opened};

/// Reads a key file; why not, in words.
pub type KeyReader = fn(&Path) -> Result<PrivateKeyDer<'static>, String>;

/// The certificate or key for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {}: {reason}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The files that TLS needs, both PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first, then intermediates.
    pub certificates: PathBuf,
    /// Its key, which its owner alone can read.
    pub key: PathBuf,
}

/// Where connections come in: as they are, or through TLS.
pub struct Door(Kind);

enum Kind {
    Open,
    Tls {
        files: TlsFiles,
        read_key: KeyReader,
        seen: ArcSwap<Option<[SystemTime; 2]>>,
        acceptor: ArcSwap<Acceptor>,
        /// Why the newest files were not taken over; said once.
        refused: ArcSwap<Option<String>>,
    },
}

/// What makes connections of one certificate.
struct Acceptor(TlsAcceptor);

impl Door {
    /// Reads the files, where there are any; `None`: connections as they are.
    pub fn new(files: Option<TlsFiles>, read_key: KeyReader) -> Result<Door, TlsError> {
        let Some(files) = files else { return Ok(Door(Kind::Open)) };
        let seen = ArcSwap::from_pointee(times(&files));
        let acceptor = ArcSwap::from_pointee(acceptor(&files, read_key)?);
        Ok(Door(Kind::Tls { files, read_key, seen, acceptor, refused: ArcSwap::default() }))
    }

    /// Whether it is TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.0, Kind::Tls { .. })
    }

    /// Takes over a new certificate. One that does not fit its key (half of a renewal) waits for the other half.
    pub fn look(&self) {
        let Kind::Tls { files, read_key, seen, acceptor: current, refused } = &self.0 else { return };
        let now = times(files);
        // What was refused is tried again: a key that others could read has the same time when they no longer can.
        if now == **seen.load() && refused.load().is_none() {
            return;
        }
        seen.store(Arc::new(now));
        let error = match acceptor(files, *read_key) {
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

    pub(crate) async fn open(&self, stream: Limited) -> io::Result<Opened> {
        match &self.0 {
            Kind::Open => Ok(Opened::Plain(TokioIo::new(stream))),
            Kind::Tls { acceptor, .. } => {
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

fn acceptor(files: &TlsFiles, read_key: KeyReader) -> Result<Acceptor, TlsError> {
    let wrong = |path: &Path, reason: String| TlsError { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|error| wrong(&files.certificates, error.to_string()))?;
    let key = read_key(&files.key).map_err(|reason| wrong(&files.key, reason))?;
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
