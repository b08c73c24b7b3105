//! From octets to a [`VerifiedFeed`], the only way there is.
//!
//! ```text
//! octets -> scan -> signature and digest -> timestamp -> chain -> document -> freshness -> co-signatures
//!                        |                                ^  the very octets that were digested
//!                        +--------------------------------+
//! ```

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::chain::{self, ChainError, Path, Requirements, Revocation};
use crate::cosignature::{self, CosignatureError, Counted};
use crate::document::Document;
use crate::dsig::{self, Signed};
use crate::freshness::{self, CLOCK_FLOOR, Claimed, LastSeen};
use crate::refusal::Refusal;
use crate::timestamp::{self, TimestampError};
use crate::trust::Trust;

/// A document that passed every check. Only [`verify`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedFeed {
    document: Document,
    octets: Vec<u8>,
    sha256: String,
    signer: String,
    cosigners: Vec<String>,
    cosignature_errors: Vec<CosignatureError>,
    judged_at: Timestamp,
    timestamp_error: Option<TimestampError>,
}

impl VerifiedFeed {
    /// What it says.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Who signed it: the certificate's subject in RFC 4514 form, `CN=…` first.
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// Who co-signed it and counts: subjects, each of another key.
    pub fn cosigners(&self) -> &[String] {
        &self.cosigners
    }

    /// Why other co-signatures did not count.
    pub fn cosignature_errors(&self) -> &[CosignatureError] {
        &self.cosignature_errors
    }

    /// When its certificates were judged: the timestamp's time, else `now`.
    pub fn judged_at(&self) -> Timestamp {
        self.judged_at
    }

    /// SHA-256 of the canonical octets, in lower-case hexadecimal. Two serializations of one
    /// document (other line ends, another signature over the same text) have the same.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The canonical octets: what was digested, without the signature.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What to remember of it; `None` for a document without serial.
    pub fn last_seen(&self) -> Option<LastSeen> {
        self.document.serial.map(|serial| LastSeen {
            serial,
            sha256: self.sha256.clone(),
            issued: self.document.issued,
        })
    }

    /// Why a timestamp that the document carries was not used.
    pub fn timestamp_error(&self) -> Option<&TimestampError> {
        self.timestamp_error.as_ref()
    }
}

/// A machine without a battery wakes in 1970. All certificates are of the future then, and to say so
/// of a good document sends its reader to the wrong place.
fn or_the_clock(refusal: Refusal, now: Timestamp) -> Refusal {
    let of_the_future = match &refusal {
        Refusal::NotYetIssued { .. } => true,
        Refusal::Chain { error, .. } => matches!(**error, ChainError::NotYetValid { .. }),
        _ => false,
    };
    if of_the_future && now < CLOCK_FLOOR {
        Refusal::ClockNotSet { now, floor: CLOCK_FLOOR }
    } else {
        refusal
    }
}

/// What came from a feed: the document and what stood beside it.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The document as fetched.
    pub feed: &'a [u8],
    /// The co-signatures as fetched, in any order; at most
    /// [`crate::cosignature::MAX_COSIGNATURES`] are looked at.
    pub cosignatures: &'a [Vec<u8>],
}

/// [`verify_presented`] without co-signatures.
pub fn verify(
    trust: &Trust,
    bytes: &[u8],
    last_seen: Option<&LastSeen>,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<VerifiedFeed, Refusal> {
    verify_presented(trust, &Presented { feed: bytes, cosignatures: &[] }, last_seen, revocation, now)
}

/// Verifies a document: `last_seen` is the newest that was accepted before, `now` the time of the
/// cycle. Whoever accepts the result must store [`VerifiedFeed::last_seen`].
pub fn verify_presented(
    trust: &Trust,
    presented: &Presented<'_>,
    last_seen: Option<&LastSeen>,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<VerifiedFeed, Refusal> {
    judge(trust, presented, last_seen, revocation, now).map_err(|refusal| or_the_clock(refusal, now))
}

fn judge(
    trust: &Trust,
    presented: &Presented<'_>,
    last_seen: Option<&LastSeen>,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<VerifiedFeed, Refusal> {
    // 1. The digest fits the octets.
    let signed = dsig::open(presented.feed, &trust.limits)?;
    // 2. The signer is whom the operator trusts, at the time at which certificates are judged.
    let Judged { signer, at, timestamp_error, .. } = signer_of(trust, &signed, revocation, now)?;
    // 3. What the digested octets say, and nothing else that came with them.
    let document = Document::of(&signed, &trust.limits)?;
    // 4. It is the newest of this feed, and of today.
    let sha256 = hex(signed.sha256());
    freshness::check(&document, &sha256, trust, last_seen, now)?;
    // 5. As many have signed it as the operator asks for.
    let counted = count_signatures(trust, presented, &document, &sha256, &signer, revocation, now)?;

    Ok(VerifiedFeed {
        document,
        octets: signed.into_octets(),
        sha256,
        signer: signer.subject,
        cosigners: counted.signers,
        cosignature_errors: counted.errors,
        judged_at: at,
        timestamp_error,
    })
}

fn count_signatures(
    trust: &Trust,
    presented: &Presented<'_>,
    document: &Document,
    sha256: &str,
    signer: &Facts,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Counted, Refusal> {
    let release =
        Claimed { feed: document.feed.as_ref().or(trust.feed.as_ref()), serial: document.serial, sha256 };
    let counted = cosignature::count(trust, presented.cosignatures, &release, signer, revocation, now);
    let found = counted.signers.len().saturating_add(1);
    if found < trust.signatures {
        return Err(Refusal::TooFewSignatures { expected: trust.signatures, found, errors: counted.errors });
    }
    Ok(counted)
}

/// The certificates of every path that makes `presented` believed, below its anchor: the signer's, its
/// timestamp's, then those of each co-signer that counts. Judged as [`verify_presented`] does, but for
/// revocation and freshness.
pub(crate) fn paths(
    trust: &Trust,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let revocation = Revocation::off();
    let signed = dsig::open(presented.feed, &trust.limits)?;
    let Judged { signer, mut path, .. } = signer_of(trust, &signed, &revocation, now)?;
    let document = Document::of(&signed, &trust.limits)?;
    let sha256 = hex(signed.sha256());
    let counted = count_signatures(trust, presented, &document, &sha256, &signer, &revocation, now)?;
    path.extend(counted.paths);
    Ok(path)
}

/// A signer, and when its certificates were judged.
pub(crate) struct Judged {
    pub(crate) signer: Facts,
    /// The certificates of the signer's path and then of the timestamp's, each leaf first, without
    /// anchors.
    pub(crate) path: Vec<CertificateDer<'static>>,
    at: Timestamp,
    timestamp_error: Option<TimestampError>,
}

/// A certificate's key made the signature over the digest, and that certificate is trusted.
pub(crate) fn signer_of(
    trust: &Trust,
    signed: &Signed,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Judged, Refusal> {
    let leaves = signed.signers()?;
    let (at, of_timestamp, timestamp_error) = match judge_timestamp(trust, signed, revocation, now) {
        Some(Ok(timestamp)) => (timestamp.time, timestamp.path, None),
        Some(Err(error)) => (now, Vec::new(), Some(error)),
        None => (now, Vec::new(), None),
    };
    match check_signers(trust, signed, &leaves, revocation, at) {
        Ok(Path { facts, mut certificates }) => {
            certificates.extend(of_timestamp);
            Ok(Judged { signer: facts, path: certificates, at, timestamp_error })
        }
        Err(error) => {
            Err(Refusal::Chain { error: Box::new(error), timestamp: timestamp_error.map(Box::new) })
        }
    }
}

fn judge_timestamp(
    trust: &Trust,
    signed: &Signed,
    revocation: &Revocation,
    now: Timestamp,
) -> Option<Result<timestamp::Judged, TimestampError>> {
    let countersignature = signed.timestamp()?;
    Some(timestamp::judge(countersignature, signed.value(), trust, revocation, now))
}

/// Judges each certificate of the signature's key; the first that fits is the signer. Where none
/// does, the first one's fault is told.
fn check_signers(
    trust: &Trust,
    signed: &Signed,
    leaves: &[&CertificateDer<'static>],
    revocation: &Revocation,
    at: Timestamp,
) -> Result<Path, ChainError> {
    let mut first = None;
    for leaf in leaves {
        match check_signer(trust, leaf, signed.certificates(), revocation, at) {
            Ok(path) => return Ok(path),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(ChainError::BadCertificate { subject: "the signature's leaf".to_owned() }))
}

fn check_signer(
    trust: &Trust,
    leaf: &CertificateDer<'static>,
    certificates: &[CertificateDer<'static>],
    revocation: &Revocation,
    at: Timestamp,
) -> Result<Path, ChainError> {
    let requirements = Requirements { roots: &trust.roots, eku: &trust.eku, at, revocation };
    let path = chain::find_path(leaf, certificates, &requirements)?;
    let facts = &path.facts;
    let issuer = facts.issuer_common_name.as_deref();
    if !trust.issuers.is_empty() && !trust.issuers.iter().any(|name| issuer == Some(name)) {
        return Err(ChainError::WrongIssuer {
            subject: facts.subject.clone(),
            expected: trust.issuers.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
            found: issuer.unwrap_or("(none)").to_owned(),
        });
    }
    let signer = facts.subject_common_name.as_deref();
    if let Some(expected) = trust.signer.as_deref().filter(|expected| signer != Some(*expected)) {
        return Err(ChainError::WrongSigner {
            expected: expected.to_owned(),
            found: signer.unwrap_or("(none)").to_owned(),
        });
    }
    Ok(path)
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
