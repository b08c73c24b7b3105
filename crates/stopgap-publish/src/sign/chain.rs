//! The certificates that a signature carries, read and in order.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stopgap_feed::limits::Limits;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use super::SignError;
use crate::key::Signer;

/// The signing certificate and its intermediates, in that order.
#[derive(Debug, Clone)]
pub struct Chain {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) leaf: Certificate,
    begins: Timestamp,
    ends: Timestamp,
}

impl Chain {
    /// Reads a PEM file with one or more certificates, each issued by the one behind it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignError> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .enumerate()
            .map(|(index, item)| {
                item.map_err(|error| SignError::Certificate { place: index + 1, reason: error.to_string() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::from_der(certificates)
    }

    /// The same from DER.
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self, SignError> {
        let limit = Limits::default().certificates;
        if certificates.len() > limit {
            return Err(SignError::TooManyCertificates { limit, found: certificates.len() });
        }
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.iter().enumerate() {
            parsed.push(
                Certificate::from_der(der).map_err(|error| SignError::Certificate {
                    place: index + 1,
                    reason: error.to_string(),
                })?,
            );
        }
        for (certificate, next) in parsed.iter().zip(parsed.iter().skip(1)) {
            let (this, next) = (certificate.tbs_certificate(), next.tbs_certificate());
            if this.issuer() != next.subject() {
                return Err(SignError::Order {
                    subject: this.subject().to_string(),
                    issuer: this.issuer().to_string(),
                    next: next.subject().to_string(),
                });
            }
        }
        let validity = || parsed.iter().map(|certificate| certificate.tbs_certificate().validity());
        let begins = validity().map(|v| timestamp(v.not_before)).max().ok_or(SignError::NoCertificate)?;
        let ends = validity().map(|v| timestamp(v.not_after)).min().ok_or(SignError::NoCertificate)?;
        let leaf = parsed.into_iter().next().ok_or(SignError::NoCertificate)?;
        Ok(Self { certificates, leaf, begins, ends })
    }

    /// The first moment at which every certificate of the chain is valid.
    pub fn begins(&self) -> Timestamp {
        self.begins
    }

    /// The last moment at which every certificate of the chain is valid.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    pub(super) fn check_key(&self, signer: &dyn Signer) -> Result<(), SignError> {
        let key = self.leaf.tbs_certificate().subject_public_key_info();
        if key.subject_public_key.as_bytes() == Some(signer.public_key()) {
            return Ok(());
        }
        Err(SignError::OtherKey { subject: self.leaf.tbs_certificate().subject().to_string() })
    }
}

/// A time that no calendar here holds is the last one.
fn timestamp(time: Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MAX)
}

/// The content of a certificate's `subjectPublicKey`, as [`Signer::public_key`] gives it.
pub(crate) fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    key.subject_public_key.as_bytes().map(<[u8]>::to_vec)
}
