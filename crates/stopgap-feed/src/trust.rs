//! Whom a feed is believed from: the trust file of one feed, and what it comes to once its files
//! are read.
//!
//! Reading files is the caller's: [`TrustFile::load_with`] takes a function that returns a file's
//! octets, and an entry that starts with `-----BEGIN` is the certificate itself.

use std::io;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::{Deserialize, Serialize};
use webpki::{BorrowedCertRevocationList, anchor_from_trusted_cert};

use crate::certificate::Oid;
use crate::chain::{Revocation, RevocationMode};
use crate::document::ActionType;
use crate::id::FeedName;
use crate::limits::Limits;
use crate::verify::VerifiedFeed;

/// `freshness` of a trust file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FreshnessMode {
    /// The document must say its feed, serial, issue and expiry.
    #[default]
    Required,
    /// It may be one of Microsoft's grammar (1.x), which has none of these. Such a document can be
    /// replayed. One of grammar 2.x is checked all the same.
    Absent,
}

/// The trust file as written (TOML). Unknown keys are refused: a misspelled `eku` must not mean
/// "any".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// Certificates that a path may end in: file names, or PEM text.
    pub roots: Vec<String>,
    /// Common names, one of which the signer's issuer must have. Empty: any.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// Common name of the signer. Absent: any.
    #[serde(default)]
    pub signer: Option<String>,
    /// Extended key usages that the signer must all have, as dotted OIDs.
    #[serde(default)]
    pub eku: Vec<String>,
    /// Anchors of timestamps, like `roots`. Empty: no timestamp counts.
    #[serde(default)]
    pub timestamp_roots: Vec<String>,
    /// How revocation is judged.
    #[serde(default)]
    pub revocation: RevocationMode,
    /// Revocation list files (PEM or DER), beside those that are fetched.
    #[serde(default)]
    pub crls: Vec<String>,
    /// Whether the document must be fresh.
    #[serde(default)]
    pub freshness: FreshnessMode,
    /// How many must sign, the feed's own signature included.
    #[serde(default = "one")]
    pub signatures: usize,
    /// Trust files of the others, each of whom counts once: file names, or the text itself, which is told
    /// by its line breaks. They may not ask for co-signatures themselves. What such a file names is looked
    /// for in that file's folder.
    #[serde(default)]
    pub cosigners: Vec<String>,
    /// Action types that the feed may bring.
    #[serde(default = "rewrite_only")]
    pub allow: Vec<ActionType>,
    /// Those of `allow` that the feed may bring only in a document that a co-signer has signed too.
    #[serde(default)]
    pub cosigned: Vec<ActionType>,
}

fn one() -> usize {
    1
}

fn rewrite_only() -> Vec<ActionType> {
    vec![ActionType::UrlRewrite]
}

/// How far a publisher's clock may be ahead of this one. Five minutes is what Kerberos lives with.
pub const CLOCK_TOLERANCE_SECONDS: u32 = 300;

/// What is wrong with a trust file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrustError {
    #[error("{key}: cannot read {entry}")]
    Read { key: &'static str, entry: String, source: io::Error },
    #[error("{key}: {entry} is not {expected}")]
    Content { key: &'static str, entry: String, expected: &'static str },
    #[error("roots: expected at least one certificate, found none")]
    NoRoots,
    #[error("eku: expected a dotted object identifier such as 1.3.6.1.5.5.7.3.3, found `{found}`")]
    Oid { found: String },
    #[error("cosigners: {name} is not a trust file: {detail}")]
    Cosigner { name: String, detail: String },
    #[error("cosigned: expected cosigners, one of whom must sign, found none")]
    CosignedByNobody,
    #[error("signatures: expected 1 to 1 more than the cosigners, found {found}")]
    Signatures { found: usize },
}

/// Somebody whose signature counts beside the publisher's.
#[derive(Debug, Clone)]
pub struct Cosigner {
    /// The trust file's name, as written; of one that is inline its signer.
    pub name: String,
    /// Roots, names, usages, timestamp roots and revocation; what it says of documents means nothing.
    pub trust: Trust,
}

/// Whom a feed is believed from. Made by [`TrustFile::load_with`] or [`Trust::from_parts`].
#[derive(Debug, Clone)]
pub struct Trust {
    /// The name that the document must bear; `None` (for `feed verify`): any.
    pub feed: Option<FeedName>,
    /// Anchors: a path ends in one of these.
    pub roots: Vec<CertificateDer<'static>>,
    /// Common names for the signer's issuer; empty: any.
    pub issuers: Vec<String>,
    /// Common name of the signer; `None`: any.
    pub signer: Option<String>,
    /// Extended key usages that the signer must all have.
    pub eku: Vec<Oid>,
    /// Anchors of timestamps.
    pub timestamp_roots: Vec<CertificateDer<'static>>,
    /// How revocation is judged.
    pub revocation: RevocationMode,
    /// The local revocation lists.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// Whether the document must be fresh.
    pub freshness: FreshnessMode,
    /// How many must sign.
    pub signatures: usize,
    /// Who else may sign, each counted once.
    pub cosigners: Vec<Cosigner>,
    /// Action types that the feed may bring.
    pub allow: Vec<ActionType>,
    /// Those of them that count only in a document with a co-signature.
    pub cosigned: Vec<ActionType>,
    /// How far the publisher's clock may be ahead, in seconds.
    pub clock_tolerance_seconds: u32,
    /// How large a document may be.
    pub limits: Limits,
}

impl Trust {
    /// From a trust file and the content of the files that it names; [`Trust::cosigners`] is set by
    /// [`TrustFile::load_with`].
    pub fn from_parts(
        file: TrustFile,
        roots: Vec<CertificateDer<'static>>,
        timestamp_roots: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, TrustError> {
        if roots.is_empty() {
            return Err(TrustError::NoRoots);
        }
        if file.signatures == 0 || file.signatures > file.cosigners.len().saturating_add(1) {
            return Err(TrustError::Signatures { found: file.signatures });
        }
        let oid = |text: &String| Oid::new(text).map_err(|_| TrustError::Oid { found: text.clone() });
        Ok(Self {
            feed: None,
            roots,
            eku: file.eku.iter().map(oid).collect::<Result<_, _>>()?,
            issuers: file.issuers,
            signer: file.signer,
            timestamp_roots,
            revocation: file.revocation,
            crls,
            freshness: file.freshness,
            signatures: file.signatures,
            cosigners: Vec::new(),
            allow: file.allow,
            cosigned: file.cosigned,
            clock_tolerance_seconds: CLOCK_TOLERANCE_SECONDS,
            limits: Limits::default(),
        })
    }

    /// The same trust for the feed of this name only.
    #[must_use]
    pub fn for_feed(self, feed: FeedName) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// The mode and the local lists; fetched ones are added by the caller.
    pub fn local_revocation(&self) -> Revocation {
        Revocation { mode: self.revocation, crls: self.crls.clone() }
    }

    /// The action types that this document may bring: those that need a co-signature only where one
    /// counts.
    pub fn allowed_in(&self, feed: &VerifiedFeed) -> Vec<ActionType> {
        let cosigned = !feed.cosigners().is_empty();
        self.allow.iter().copied().filter(|action| cosigned || !self.cosigned.contains(action)).collect()
    }

    /// Whether the feed may bring actions of this type at all. One that does nothing needs no leave.
    pub fn allows(&self, action: ActionType) -> bool {
        action == ActionType::DoNothing || self.allow.contains(&action)
    }
}

impl TrustFile {
    /// The trust in one signer, without co-signers.
    fn load_single(self, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> Result<Trust, TrustError> {
        let certificate = |der: &CertificateDer<'_>| anchor_from_trusted_cert(der).is_ok();
        let list = |der: &CertificateRevocationListDer<'_>| BorrowedCertRevocationList::from_der(der).is_ok();
        let expected = "a certificate (PEM or DER)";
        let roots = load("roots", &self.roots, read, expected, certificate)?;
        let timestamp_roots = load("timestamp_roots", &self.timestamp_roots, read, expected, certificate)?;
        let crls = load("crls", &self.crls, read, "a revocation list (PEM or DER)", list)?;
        Trust::from_parts(self, roots, timestamp_roots, crls)
    }

    /// Reads what the file names. `read` gets each entry as written and returns that file's octets:
    /// PEM (one certificate or several) or DER.
    pub fn load_with(self, read: impl Fn(&str) -> io::Result<Vec<u8>>) -> Result<Trust, TrustError> {
        if !self.cosigned.is_empty() && self.cosigners.is_empty() {
            return Err(TrustError::CosignedByNobody);
        }
        let cosigners: Vec<Cosigner> =
            self.cosigners.iter().map(|name| load_cosigner(name, &read)).collect::<Result<_, _>>()?;
        Ok(Trust { cosigners, ..self.load_single(&read)? })
    }
}

/// Whether an entry of `cosigners` is a trust file itself: no file's name has a line break.
pub(crate) fn is_inline_cosigner(entry: &str) -> bool {
    entry.contains('\n')
}

fn load_cosigner(entry: &str, read: &impl Fn(&str) -> io::Result<Vec<u8>>) -> Result<Cosigner, TrustError> {
    let key = "cosigners";
    let inline = is_inline_cosigner(entry);
    let shown = if inline { "the inline text".to_owned() } else { format!("`{entry}`") };
    let octets = if inline {
        entry.to_owned().into_bytes()
    } else {
        read(entry).map_err(|source| TrustError::Read { key, entry: shown.clone(), source })?
    };
    let wrong = |detail: String| TrustError::Cosigner { name: shown.clone(), detail };
    let file: TrustFile = toml::from_slice(&octets).map_err(|error| wrong(error.to_string()))?;
    if file.signatures != 1 || !file.cosigners.is_empty() || !file.cosigned.is_empty() {
        return Err(wrong("expected no signatures, cosigners or cosigned of its own, found one".to_owned()));
    }
    // `join` of an absolute name is that name.
    let folder = Path::new(if inline { "" } else { entry }).parent().unwrap_or(Path::new("")).to_owned();
    let name = if inline { file.signer.clone().unwrap_or(shown) } else { entry.to_owned() };
    let beside = |entry: &str| read(&folder.join(entry).to_string_lossy());
    let read: &dyn Fn(&str) -> io::Result<Vec<u8>> = &beside;
    Ok(Cosigner { name, trust: file.load_single(read)? })
}

fn load<T: PemObject + From<Vec<u8>>>(
    key: &'static str,
    entries: &[String],
    read: impl Fn(&str) -> io::Result<Vec<u8>>,
    expected: &'static str,
    is_one: impl Fn(&T) -> bool,
) -> Result<Vec<T>, TrustError> {
    let mut all = Vec::new();
    for entry in entries {
        let inline = entry.trim_start().starts_with("-----BEGIN");
        let shown = if inline { "the inline text".to_owned() } else { format!("`{entry}`") };
        let octets = if inline {
            entry.clone().into_bytes()
        } else {
            read(entry).map_err(|source| TrustError::Read { key, entry: shown.clone(), source })?
        };
        let wrong = || TrustError::Content { key, entry: shown.clone(), expected };
        let found: Vec<T> = if octets.first() == Some(&DER_SEQUENCE) {
            vec![T::from(octets)]
        } else {
            T::pem_slice_iter(&octets).collect::<Result<_, _>>().map_err(|_| wrong())?
        };
        if found.is_empty() || !found.iter().all(&is_one) {
            return Err(wrong());
        }
        all.extend(found);
    }
    Ok(all)
}

/// The first octet of every certificate and revocation list in DER, and of no PEM text.
const DER_SEQUENCE: u8 = 0x30;
