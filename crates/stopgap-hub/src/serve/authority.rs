//! The hub's own certificate authority, for an organization that has none: `DATA/ca`.
//!
//! ```text
//! ca.pem, ca.key     made once; agents pin this certificate (its SHA-256 stands in enrollment tokens)
//! hub.pem, hub.key   the hub's certificate with the authority's behind it, renewed by itself
//! hub.json           for which names, and until when
//! ```
//!
//! What agents believe is the authority, never the certificate: renewing that strands nobody. Whoever loses `ca.key`
//! loses what agents believe, so `hub backup` holds this folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;

use super::{HubError, TlsFiles};
use crate::Settings;

const NAME: &str = "Stopgap Hub CA";
/// Longer than a machine lives: a new authority means that every agent joins anew.
const AUTHORITY: SignedDuration = SignedDuration::from_hours(20 * 365 * 24);
/// Browsers refuse more than 398 days.
const CERTIFICATE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A third of that is left when it is renewed.
const RENEW: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Clocks of agents may be behind.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// What the present certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    names: Vec<String>,
    until: Timestamp,
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    folder: PathBuf,
    names: Vec<String>,
}

impl Authority {
    /// Makes what is missing, and renews what ends soon.
    pub(super) fn open(settings: &Settings, now: Timestamp) -> Result<Authority, HubError> {
        let authority = Authority { folder: settings.data.join("ca"), names: names(settings) };
        authority.look(now)?;
        Ok(authority)
    }

    /// The files that the door reads.
    pub(super) fn files(&self) -> TlsFiles {
        TlsFiles { certificates: self.path("hub.pem"), key: self.path("hub.key") }
    }

    /// SHA-256, in hex, of the authority's certificate as DER.
    pub(super) fn pin(&self) -> Result<String, HubError> {
        let path = self.path("ca.pem");
        let der = CertificateDer::from_pem_file(&path).map_err(|error| wrong(&path, error))?;
        Ok(sha256_hex(&der))
    }

    /// Renews the certificate where it ends soon, or where it is for other names than asked for.
    pub(super) fn look(&self, now: Timestamp) -> Result<(), HubError> {
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
        let (certificate, key) = (self.path("ca.pem"), self.path("ca.key"));
        if !key.exists() {
            let made = KeyPair::generate().map_err(|error| wrong(&key, error))?;
            let mut params = params(now, AUTHORITY).map_err(|error| wrong(&certificate, error))?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let pem = params.self_signed(&made).map_err(|error| wrong(&certificate, error))?.pem();
            // The key last: where it is, all is.
            write(&certificate, &pem, false)?;
            write(&key, &made.serialize_pem(), true)?;
        }
        let issued: Option<Issued> =
            fs::read(self.path("hub.json")).ok().and_then(|octets| serde_json::from_slice(&octets).ok());
        let good = |issued: &Issued| issued.names == self.names && issued.until.duration_since(now) > RENEW;
        if issued.as_ref().is_some_and(good) && self.path("hub.key").exists() {
            return Ok(());
        }
        self.issue(now)
    }

    fn issue(&self, now: Timestamp) -> Result<(), HubError> {
        let (ca, key) = (self.path("ca.pem"), self.path("ca.key"));
        let bad = |error: rcgen::Error| wrong(&ca, error);
        let pem = fs::read_to_string(&key).map_err(|error| wrong(&key, error))?;
        let ca_key = KeyPair::from_pem(&pem).map_err(|error| wrong(&key, error))?;
        // The name and the key's identifier are those of ca.pem: both come from what never changes.
        let mut authority = params(now, AUTHORITY).map_err(bad)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = Issuer::new(authority, ca_key);
        let mut params = CertificateParams::new(self.names.clone()).map_err(bad)?;
        (params.not_before, params.not_after) = validity(now, CERTIFICATE).map_err(bad)?;
        let common = self.names.first().cloned().unwrap_or_default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let own = KeyPair::generate().map_err(bad)?;
        let certificate = params.signed_by(&own, &issuer).map_err(bad)?.pem();
        // The authority stands in the chain: that is where an agent that joins finds what its token pins.
        let chain = format!("{certificate}{}", fs::read_to_string(&ca).map_err(|error| wrong(&ca, error))?);
        write(&self.path("hub.key"), &own.serialize_pem(), true)?;
        write(&self.path("hub.pem"), &chain, false)?;
        let issued = Issued { names: self.names.clone(), until: now + CERTIFICATE };
        write(&self.path("hub.json"), &serde_json::to_string(&issued).unwrap_or_default(), false)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What the hub is called: what was said, this machine's own names, and the address where it is a definite one.
fn names(settings: &Settings) -> Vec<String> {
    let mut names = settings.names.clone();
    let address = settings.listen.ip();
    if !address.is_unspecified() {
        names.push(address.to_string());
    }
    names.extend(["localhost".to_owned(), IpAddr::from([127, 0, 0, 1]).to_string()]);
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn params(now: Timestamp, lasting: SignedDuration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = validity(now, lasting)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

macro_rules! offset {
    ($at:expr) => {{
        let since = Duration::from_secs(u64::try_from($at.as_second()).unwrap_or(0));
        (SystemTime::UNIX_EPOCH + since).into()
    }};
}

fn validity<T: From<SystemTime>>(now: Timestamp, lasting: SignedDuration) -> Result<(T, T), rcgen::Error> {
    let (from, until) = (now - BEFORE, now + lasting);
    Ok((offset!(from), offset!(until)))
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> HubError {
    HubError::Tls(stopgap_door::TlsError { path: path.to_owned(), reason: error.to_string() })
}

/// Replaces a file whole; a secret one is its owner's alone from the first octet on.
fn write(path: &Path, text: &str, secret: bool) -> Result<(), HubError> {
    let new = path.with_extension("new");
    let written = || -> io::Result<()> {
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(if secret { 0o600 } else { 0o644 });
        }
        #[cfg(not(unix))]
        let _ = secret;
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    written().map_err(|error| wrong(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data: &Path) -> Settings {
        Settings {
            data: data.to_owned(),
            listen: "0.0.0.0:0".parse().unwrap(),
            database: None,
            tls: None,
            names: vec!["hub.example.org".into()],
            bounds: crate::Bounds::default(),
        }
    }

    #[test]
    fn a_certificate_is_renewed_and_the_authority_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let authority = Authority::open(&settings(folder.path()), now).unwrap();
        let (pin, first) = (authority.pin().unwrap(), fs::read(authority.files().certificates).unwrap());
        now += SignedDuration::from_hours(59 * 24);
        let authority = Authority::open(&settings(folder.path()), now).unwrap();
        assert_eq!(fs::read(authority.files().certificates).unwrap(), first, "it is good for a while");
        now += SignedDuration::from_hours(2 * 24);
        authority.look(now).unwrap();
        assert_ne!(fs::read(authority.files().certificates).unwrap(), first);
        assert_eq!(authority.pin().unwrap(), pin);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for name in ["ca.key", "hub.key"] {
                let mode = fs::metadata(folder.path().join("ca").join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
        }
    }
}
