//! The feed's own authorities as they are in its folder: those in use, and those that were replaced.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use super::RevokeError;
use crate::folder::{FeedFolder, read_text};
use crate::key::{Ask, ClearKey};
use crate::pki::{self, Authority, PkiError};

/// Retired authorities that are looked at: one a year for a lifetime.
const AUTHORITIES_MAX: usize = 64;
const ROOT_DAYS: i64 = 366;
const INTERMEDIATE_DAYS: i64 = 60;

/// A certificate of an authority, and where its key is if it is here.
pub(crate) struct Known {
    pub(crate) certificate: Certificate,
    pub(crate) der: Vec<u8>,
    pub(crate) key: PathBuf,
    pub(super) id: String,
    key_identifier: Vec<u8>,
}

impl Known {
    fn read(certificate: &Path, key: PathBuf) -> Result<Self, RevokeError> {
        let der = first_certificate(&read_text(certificate)?)?;
        let certificate = parse(&der)?;
        let key_identifier = pki::key_identifier(&certificate)?;
        Ok(Self { certificate, der, key, id: pki::short_id(&key_identifier), key_identifier })
    }

    pub(crate) fn subject(&self) -> String {
        self.certificate.tbs_certificate().subject().to_string()
    }

    pub(super) fn issued(&self, certificate: &Certificate) -> bool {
        let body = certificate.tbs_certificate();
        let by = body.get_extension::<AuthorityKeyIdentifier>().ok().flatten();
        let by = by.and_then(|(_, by)| by.key_identifier);
        body.issuer() == self.certificate.tbs_certificate().subject()
            && by.is_none_or(|by| by.as_bytes() == self.key_identifier)
    }

    /// With its key, for which `ask` may be called.
    pub(crate) fn open(&self, ask: Ask<'_>) -> Result<(Authority, ClearKey), RevokeError> {
        if !self.key.exists() {
            return Err(RevokeError::KeyAway { path: self.key.clone(), authority: self.subject() });
        }
        let key = ClearKey::read(&self.key, ask)?;
        Ok((Authority::new(&self.der, key.pem())?, key))
    }

    /// How long a list of it lasts.
    pub(super) fn days(&self) -> i64 {
        days(&self.certificate)
    }
}

/// The authorities of the folder: those in use first.
pub(crate) fn authorities(folder: &FeedFolder) -> Result<Vec<Known>, RevokeError> {
    let mut files = vec![
        (folder.path("root.pem"), folder.path("root.key.pem")),
        (folder.path("intermediate.pem"), folder.path("intermediate.key.pem")),
    ];
    if let Ok(entries) = std::fs::read_dir(folder.retired("authorities")) {
        let paths = entries.flatten().map(|entry| entry.path()).take(2 * AUTHORITIES_MAX);
        let mut retired: Vec<PathBuf> = paths
            .filter(|path| path.to_string_lossy().ends_with(".pem"))
            .filter(|path| !path.to_string_lossy().ends_with(".key.pem"))
            .collect();
        retired.sort();
        files.extend(retired.into_iter().map(|path| (path.clone(), path.with_extension("key.pem"))));
    }
    let here = files.into_iter().filter(|(certificate, _)| certificate.exists());
    here.map(|(certificate, key)| Known::read(&certificate, key)).collect()
}

/// The certificates of a PEM text, as DER.
pub(crate) fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, RevokeError> {
    let all = rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes());
    let bad = |error: rustls_pki_types::pem::Error| PkiError::Authority { reason: error.to_string() };
    Ok(all.map(|der| der.map(|der| der.to_vec()).map_err(bad)).collect::<Result<_, _>>()?)
}

pub(crate) fn first_certificate(pem: &str) -> Result<Vec<u8>, RevokeError> {
    let none = || PkiError::Authority { reason: "expected a certificate as PEM, found none".to_owned() };
    Ok(certificates(pem)?.into_iter().next().ok_or_else(none)?)
}

pub(crate) fn parse(der: &[u8]) -> Result<Certificate, RevokeError> {
    Certificate::from_der(der).map_err(|error| PkiError::Authority { reason: error.to_string() }.into())
}

/// How long a list of this authority lasts: the root's key should be far away.
pub(super) fn days(certificate: &Certificate) -> i64 {
    let body = certificate.tbs_certificate();
    if body.subject() == body.issuer() { ROOT_DAYS } else { INTERMEDIATE_DAYS }
}
