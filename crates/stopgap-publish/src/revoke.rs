//! What the feed's own authorities revoked, and the lists that say so.
//!
//! ```text
//! revoked.toml ── each authority's part, signed with its key ──> public/crl/<authority>.crl
//! ```
//!
//! A list ends, so that nobody can show an old one for ever, and is made again before that ([`renew_lists`]). The root's
//! lasts longest: its key should be far away.

mod authorities;
mod standing;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateRevocationListDer;
use serde::{Deserialize, Serialize};
use stopgap_feed::RevocationMode;
use x509_cert::Certificate;
use x509_cert::ext::pkix::CrlDistributionPoints;

use crate::card;
use crate::folder::{Access, Change, FeedFolder, FolderError, read_octets, read_text};
use crate::key::{Ask, KeyError};
use crate::pki::{self, Authority, PkiError, Reason, Revoked};
use authorities::certificates;
pub(crate) use authorities::{Known, authorities, first_certificate, parse};
use standing::read_list;

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
    /// Whether the certificate says where its list is; else nobody looks for one.
    pub names_list: bool,
}

/// Puts a certificate on its issuer's list. `what` is a PEM file, or the serial number of a certificate in the folder.
pub fn revoke(
    dir: &Path,
    what: &str,
    reason: Reason,
    ask: Ask<'_>,
    now: Timestamp,
) -> Result<RevokedCertificate, RevokeError> {
    let (folder, lock) = FeedFolder::open_locked(dir)?;
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
    let list = folder.path(list_file(&issuer.id));
    let before = ledger.revoked.iter().find(same).map(|entry| entry.at);
    let at = match before {
        // The same command again, after it was cut off.
        Some(before) if lock.finished.is_some() => before,
        Some(at) if read_list(&list)?.is_some_and(|list| list.holds(&ledger, &issuer.id)) => {
            return Err(RevokeError::Already { subject, at });
        }
        // The ledger says it, and the list was lost, or is an older one.
        Some(before) => {
            write_list(&folder, &mut ledger, &issuer.open(ask)?.0, issuer.days(), at)?;
            before
        }
        None => {
            let (subject, issued_by, serial) = (subject.clone(), issuer.id.clone(), serial.clone());
            ledger.revoked.push(Entry { subject, issuer: issued_by, serial, at, reason });
            write_list(&folder, &mut ledger, &issuer.open(ask)?.0, issuer.days(), at)?;
            at
        }
    };
    let chain = folder.path("chain.pem");
    let used = if chain.exists() { certificates(&read_text(&chain)?)? } else { Vec::new() };
    let in_use = used.iter().any(|used| parse(used).is_ok_and(|used| used == certificate));
    let names_list = body.get_extension::<CrlDistributionPoints>().ok().flatten().is_some();
    Ok(RevokedCertificate { subject, serial, at, list, in_use, names_list })
}

/// What [`renew_lists`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lists {
    /// Lists that were made again.
    pub written: Vec<PathBuf>,
    /// Lists that should have been, in words: the key is somewhere else.
    pub missed: Vec<String>,
}

/// Makes every list again that is in the second half of its time, is lost, or lacks what the ledger holds. A feed
/// without lists gets none. One key that cannot be had keeps no other list from being made.
pub fn renew_lists(dir: &Path, ask: Ask<'_>, now: Timestamp) -> Result<Lists, RevokeError> {
    let (folder, _lock) = FeedFolder::open_locked(dir)?;
    let now = whole(now)?;
    let mut ledger = Ledger::read(&folder)?;
    let revocable = card::trust(&folder)?.revocation != RevocationMode::Off;
    let mut lists = Lists::default();
    for known in authorities(&folder)? {
        let list = read_list(&folder.path(list_file(&known.id)))?;
        let why = match &list {
            None if !revocable => continue,
            None => "is not there".to_owned(),
            Some(list) if !list.holds(&ledger, &known.id) => "lacks what was revoked".to_owned(),
            Some(list) if list.ends.duration_since(now) > SignedDuration::from_hours(known.days() * 12) => {
                continue;
            }
            Some(list) => format!("ends at {}", list.ends),
        };
        match known.open(&mut *ask) {
            Ok((authority, _)) => {
                lists.written.push(write_list(&folder, &mut ledger, &authority, known.days(), now)?);
            }
            Err(error @ (RevokeError::KeyAway { .. } | RevokeError::Key(_) | RevokeError::Pki(_))) => {
                let cause = match error {
                    RevokeError::KeyAway { path, .. } => format!("{} is not there", path.display()),
                    other => other.to_string(),
                };
                lists.missed.push(format!("the list of {} {why}, and {cause}", known.subject()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lists)
}

/// Puts an authority's first list, which revokes nothing, beside what else changes.
pub(crate) fn first_list(
    change: &mut Change<'_>,
    folder: &FeedFolder,
    authority: &Authority,
    now: Timestamp,
) -> Result<(), RevokeError> {
    let mut ledger = if change.has(Path::new(LEDGER)) || folder.path(LEDGER).exists() {
        Ledger::parse(&change.read(Path::new(LEDGER))?, folder)?
    } else {
        Ledger::default()
    };
    let days = authorities::days(authority.certificate());
    stage_list(change, &mut ledger, authority, days, whole(now)?).map(drop)
}

/// The lists that stand beside the feed, for our own look at what we release.
pub(crate) fn own_lists(
    folder: &FeedFolder,
) -> Result<Vec<CertificateRevocationListDer<'static>>, RevokeError> {
    let mut lists = Vec::new();
    for known in authorities(folder)? {
        if let Some(octets) = read_octets(&folder.path(list_file(&known.id)), LIST_MAX)? {
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
        Self::parse(&read_text(&path)?, folder)
    }

    fn parse(text: &str, folder: &FeedFolder) -> Result<Self, FolderError> {
        let path = folder.path(LEDGER);
        toml::from_str(text).map_err(|source| FolderError::Settings { path, source: Box::new(source) })
    }
}

/// Signs an authority's part of the ledger, and puts both in place as one.
fn write_list(
    folder: &FeedFolder,
    ledger: &mut Ledger,
    authority: &Authority,
    days: i64,
    now: Timestamp,
) -> Result<PathBuf, RevokeError> {
    let mut change = Change::new(folder);
    let file = stage_list(&mut change, ledger, authority, days, now)?;
    change.commit("lists")?;
    Ok(folder.path(file))
}

fn stage_list(
    change: &mut Change<'_>,
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
    let file = list_file(&id);
    change.put(LEDGER, text, Access::Everyone);
    change.put(&file, list, Access::Everyone);
    Ok(file)
}

fn list_file(id: &str) -> PathBuf {
    Path::new("public/crl").join(format!("{id}.crl"))
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
