//! What the feed's own authorities revoked, and the lists that say so.
//!
//! ```text
//! revoked.toml ── each authority's part, signed with its key ──> public/crl/<authority>.crl
//! ```
//!
//! A list ends, so that nobody can show an old one for ever, and is made again before that ([`renew_lists`]). The root's
//! lasts longest: its key should be far away.

mod authorities;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateRevocationListDer;
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use crate::folder::{FeedFolder, FolderError, create_dir, read_octets, read_text, replace_file};
use crate::key::{Ask, KeyError};
use crate::pki::{self, Authority, PkiError, Reason, Revoked};
use authorities::certificates;
pub(crate) use authorities::{Known, authorities, first_certificate, parse};

const LEDGER: &str = "revoked.toml";
/// A list of the feed's own authorities has a line for each certificate; a megabyte is ten thousand.
const LIST_MAX: u64 = 1 << 20;

/// Why nothing was revoked, or no list made.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate or list.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No certificate at hand has this serial number.
    #[error(
        "{what}: expected a certificate file, or the serial number (hexadecimal) of one of this feed's certificates"
    )]
    Unknown {
        /// What was given.
        what: String,
    },
    /// Issued by nobody here.
    #[error("{subject} was issued by {issuer}: expected one of this feed's own authorities")]
    Foreign {
        /// The certificate.
        subject: String,
        /// Who issued it.
        issuer: String,
    },
    /// Subscribers pin it.
    #[error(
        "{subject} is a root: no list can revoke what subscribers trust by itself; change it (`feed rotate --root`) and tell them to remove it"
    )]
    Root {
        /// The certificate.
        subject: String,
    },
    /// It is on the list.
    #[error("{subject} was revoked at {at}")]
    Already {
        /// The certificate.
        subject: String,
        /// When.
        at: Timestamp,
    },
    /// The authority's key is somewhere else.
    #[error("{} is not there: the list of {authority} needs it", path.display())]
    KeyAway {
        /// Where it is expected.
        path: PathBuf,
        /// Whose.
        authority: String,
    },
    /// `revoked.toml` cannot be written.
    #[error("{LEDGER} cannot be written")]
    Ledger(#[from] toml::ser::Error),
    /// A list's end leaves the calendar.
    #[error("no list can be valid from {now} on")]
    Clock {
        /// The time that was given.
        now: Timestamp,
    },
}

impl RevokeError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Pki(_) => "pki",
            Self::Unknown { .. } => "unknown-certificate",
            Self::Foreign { .. } => "foreign-certificate",
            Self::Root { .. } => "root-certificate",
            Self::Already { .. } => "already-revoked",
            Self::KeyAway { .. } => "key-away",
            Self::Ledger(_) => "ledger",
            Self::Clock { .. } => "clock",
        }
    }
}

/// `revoked.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    /// The number of the last list that any authority made: they only grow (RFC 5280, section 5.2.3).
    number: u64,
    #[serde(default)]
    revoked: Vec<Entry>,
}

/// `[[revoked]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: String,
    /// [`Authority::id`] of who issued it.
    issuer: String,
    /// Hexadecimal.
    serial: String,
    at: Timestamp,
    reason: Reason,
}

/// A certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevokedCertificate {
    /// Its subject.
    pub subject: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Since when.
    pub at: Timestamp,
    /// The list that says so.
    pub list: PathBuf,
    /// Whether the feed still signs with it.
    pub in_use: bool,
}

/// Puts a certificate on its issuer's list. `what` is a PEM file, or the serial number of a certificate in the folder.
pub fn revoke(
    dir: &Path,
    what: &str,
    reason: Reason,
    ask: Ask<'_>,
    now: Timestamp,
) -> Result<RevokedCertificate, RevokeError> {
    let folder = FeedFolder::open(dir)?;
    let _lock = folder.lock()?;
    let at = whole(now)?;
    let authorities = authorities(&folder)?;
    let certificate = find(&folder, &authorities, what)?;
    let body = certificate.tbs_certificate();
    let subject = body.subject().to_string();
    if body.subject() == body.issuer() {
        return Err(RevokeError::Root { subject });
    }
    let issuer = authorities.iter().find(|known| known.issued(&certificate));
    let issuer = issuer.ok_or_else(|| RevokeError::Foreign {
        subject: subject.clone(),
        issuer: body.issuer().to_string(),
    })?;
    let serial = crate::hex(body.serial_number().as_bytes());
    let mut ledger = Ledger::read(&folder)?;
    let same = |entry: &&Entry| entry.issuer == issuer.id && entry.serial == serial;
    if let Some(entry) = ledger.revoked.iter().find(same) {
        return Err(RevokeError::Already { subject, at: entry.at });
    }
    let entry =
        Entry { subject: subject.clone(), issuer: issuer.id.clone(), serial: serial.clone(), at, reason };
    ledger.revoked.push(entry);
    let (authority, _) = issuer.open(ask)?;
    let list = write_list(&folder, &mut ledger, &authority, issuer.days(), at)?;
    let chain = folder.path("chain.pem");
    let used = if chain.exists() { certificates(&read_text(&chain)?)? } else { Vec::new() };
    let in_use = used.iter().any(|used| parse(used).is_ok_and(|used| used == certificate));
    Ok(RevokedCertificate { subject, serial, at, list, in_use })
}

/// What [`renew_lists`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lists {
    /// Lists that were made again.
    pub written: Vec<PathBuf>,
    /// Lists that should have been, in words: the key is somewhere else.
    pub missed: Vec<String>,
}

/// Makes every list again that is in the second half of its time. A feed without lists gets none.
pub fn renew_lists(dir: &Path, ask: Ask<'_>, now: Timestamp) -> Result<Lists, RevokeError> {
    let folder = FeedFolder::open(dir)?;
    let _lock = folder.lock()?;
    let now = whole(now)?;
    let mut ledger = Ledger::read(&folder)?;
    let mut lists = Lists::default();
    for known in authorities(&folder)? {
        let path = list_path(&folder, &known.id);
        let Some(end) = end_of(&path)? else { continue };
        if end.duration_since(now) > SignedDuration::from_hours(known.days() * 12) {
            continue;
        }
        match known.open(&mut *ask) {
            Ok((authority, _)) => {
                lists.written.push(write_list(&folder, &mut ledger, &authority, known.days(), now)?);
            }
            Err(RevokeError::KeyAway { path, authority }) => {
                lists.missed.push(format!(
                    "the list of {authority} ends at {end}, and {} is not there",
                    path.display()
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lists)
}

/// An authority's first list, which revokes nothing.
pub(crate) fn first_list(dir: &Path, authority: &Authority, now: Timestamp) -> Result<PathBuf, FolderError> {
    let folder = FeedFolder::open(dir)?;
    let days = authorities::days(authority.certificate());
    let made = (|| {
        let mut ledger = Ledger::read(&folder)?;
        write_list(&folder, &mut ledger, authority, days, whole(now)?)
    })();
    made.map_err(|error| match error {
        RevokeError::Folder(error) => error,
        RevokeError::Pki(error) => error.into(),
        other => FolderError::Io {
            doing: "create",
            path: folder.path("public/crl"),
            source: std::io::Error::other(other),
        },
    })
}

/// The lists that stand beside the feed, for our own look at what we release.
pub(crate) fn own_lists(
    folder: &FeedFolder,
) -> Result<Vec<CertificateRevocationListDer<'static>>, RevokeError> {
    let mut lists = Vec::new();
    for known in authorities(folder)? {
        if let Some(octets) = read_octets(&list_path(folder, &known.id), LIST_MAX)? {
            lists.push(octets.into());
        }
    }
    Ok(lists)
}

/// `what` as a file, or as a serial number among the certificates here.
fn find(folder: &FeedFolder, authorities: &[Known], what: &str) -> Result<Certificate, RevokeError> {
    if Path::new(what).is_file() {
        return parse(&first_certificate(&read_text(Path::new(what))?)?);
    }
    let wanted = what.replace([':', ' '], "").to_ascii_lowercase();
    let wanted = wanted.trim_start_matches("0x").trim_start_matches('0');
    let mut all: Vec<Vec<u8>> = authorities.iter().map(|known| known.der.clone()).collect();
    for file in ["chain.pem", "retired/signers.pem"] {
        let path = folder.path(file);
        if path.exists() {
            all.extend(certificates(&read_text(&path)?)?);
        }
    }
    for der in all {
        let certificate = parse(&der)?;
        let serial = crate::hex(certificate.tbs_certificate().serial_number().as_bytes());
        if !wanted.is_empty() && serial.trim_start_matches('0') == wanted {
            return Ok(certificate);
        }
    }
    Err(RevokeError::Unknown { what: what.to_owned() })
}

impl Ledger {
    fn read(folder: &FeedFolder) -> Result<Self, FolderError> {
        let path = folder.path(LEDGER);
        if !path.exists() {
            return Ok(Self::default());
        }
        toml::from_str(&read_text(&path)?)
            .map_err(|source| FolderError::Settings { path, source: Box::new(source) })
    }
}

/// Signs an authority's part of the ledger. The ledger is on disk before its list is.
fn write_list(
    folder: &FeedFolder,
    ledger: &mut Ledger,
    authority: &Authority,
    days: i64,
    now: Timestamp,
) -> Result<PathBuf, RevokeError> {
    ledger.number = ledger.number.saturating_add(1);
    let id = authority.id();
    let revoked = ledger.revoked.iter().filter(|entry| entry.issuer == id).map(|entry| {
        let serial = unhex(&entry.serial).ok_or_else(|| PkiError::Authority {
            reason: format!("{LEDGER}: the serial number {}", entry.serial),
        })?;
        Ok(Revoked { serial, at: entry.at, reason: entry.reason })
    });
    let revoked = revoked.collect::<Result<Vec<_>, PkiError>>()?;
    let until =
        now.checked_add(SignedDuration::from_hours(days * 24)).map_err(|_| RevokeError::Clock { now })?;
    let list = pki::revocation_list(authority, ledger.number, &revoked, now, until)?;
    let text = format!(
        "# Certificates that this feed's authorities revoked; `stopgap feed revoke` writes it.\n{}",
        toml::to_string(ledger)?
    );
    replace_file(&folder.path(LEDGER), text.as_bytes())?;
    let path = list_path(folder, &id);
    create_dir(&folder.path("public/crl"))?;
    replace_file(&path, &list)?;
    Ok(path)
}

fn list_path(folder: &FeedFolder, id: &str) -> PathBuf {
    folder.path("public/crl").join(format!("{id}.crl"))
}

/// When the list in this file ends; `None` where there is none. One that cannot be read has ended.
fn end_of(path: &Path) -> Result<Option<Timestamp>, FolderError> {
    let Some(octets) = read_octets(path, LIST_MAX)? else { return Ok(None) };
    let end = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&octets).ok();
    let end = end.and_then(|list| list.tbs_cert_list.next_update);
    let seconds = end.and_then(|end| i64::try_from(end.to_unix_duration().as_secs()).ok());
    Ok(Some(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MIN)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// Certificates and lists hold whole seconds.
fn whole(now: Timestamp) -> Result<Timestamp, RevokeError> {
    Timestamp::from_second(now.as_second()).map_err(|_| RevokeError::Clock { now })
}
