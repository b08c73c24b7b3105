//! TLS before anything is known of a hub but the hash of its CA: a chain is accepted where it leads to the
//! certificate with that hash, which the hub sends along. Names and dates are checked as ever.
//!
//! It is the CA that is pinned and kept, never the hub's own certificate: that one is renewed without any
//! server noticing.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use stopgap_core::plan::sha256_hex;

/// The CA that a handshake found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Arc<Mutex<Option<Vec<u8>>>>);

impl Found {
    /// Its DER; nothing before a handshake succeeded.
    pub(super) fn der(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client's configuration that believes the CA with this hash, and where it is told which one that is.
pub(super) fn pinned(pin: &str) -> Result<(ClientConfig, Found), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let found = Found::default();
    let verifier = Pinned { pin: pin.to_owned(), provider: provider.clone(), found: found.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((config, found))
}

#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
    found: Found,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates.iter().find(|certificate| sha256_hex(certificate) == self.pin);
        let ca = ca.ok_or_else(|| {
            Error::General(format!(
                "its chain does not hold the CA of the enrollment token (SHA-256 {}): either this is another \
                 hub, or somebody stands between",
                self.pin
            ))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        *self.found.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ca.to_vec());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
