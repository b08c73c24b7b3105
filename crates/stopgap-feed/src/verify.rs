//! From octets to a [`VerifiedFeed`], the only way there is.
//!
//! ```text
//! octets -> scan -> signature and digest -> timestamp -> chain -> document -> freshness
//!                        |                                ^  the very octets that were digested
//!                        +--------------------------------+
//! ```

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::chain::{self, ChainError, Requirements, Revocation};
use crate::document::Document;
use crate::dsig::{self, Digest, Signed};
use crate::freshness::{self, LastSeen};
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
        self.document.serial.map(|serial| LastSeen { serial, sha256: self.sha256.clone() })
    }

    /// Why a timestamp that the document carries was not used.
    pub fn timestamp_error(&self) -> Option<&TimestampError> {
        self.timestamp_error.as_ref()
    }
}

/// Verifies a document: `bytes` as fetched, `last_seen` the newest that was accepted before, `now`
/// the time of the cycle. Whoever accepts the result must store [`VerifiedFeed::last_seen`].
pub fn verify(
    trust: &Trust,
    bytes: &[u8],
    last_seen: Option<&LastSeen>,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<VerifiedFeed, Refusal> {
    if trust.signatures > 1 {
        return Err(Refusal::CosignaturesUnsupported { signatures: trust.signatures });
    }
    // 1. The digest fits the octets, and a certificate's key made the signature over the digest.
    let signed = dsig::open(bytes, &trust.limits)?;
    let leaf = signed.signer()?;
    // 2. The time at which certificates are judged.
    let (judged_at, timestamp_error) = match judge_timestamp(trust, &signed, revocation, now) {
        Some(Ok(at)) => (at, None),
        Some(Err(error)) => (now, Some(error)),
        None => (now, None),
    };
    // 3. The signer is whom the operator trusts, at that time.
    let signer =
        check_signer(trust, leaf, signed.certificates(), revocation, judged_at).map_err(|error| {
            let timestamp = timestamp_error.clone().map(Box::new);
            Refusal::Chain { error: Box::new(error), timestamp }
        })?;
    // 4. What the digested octets say, and nothing else that came with them.
    let document = Document::parse(signed.octets(), &trust.limits)?;
    // 5. It is the newest of this feed, and of today.
    let sha256 = hex(&Digest::Sha256.of(signed.octets()));
    freshness::check(&document, &sha256, trust, last_seen, now)?;

    let octets = signed.octets().to_vec();
    Ok(VerifiedFeed { document, octets, sha256, signer: signer.subject, judged_at, timestamp_error })
}

fn judge_timestamp(
    trust: &Trust,
    signed: &Signed,
    revocation: &Revocation,
    now: Timestamp,
) -> Option<Result<Timestamp, TimestampError>> {
    let countersignature = signed.timestamp()?;
    Some(timestamp::verify(countersignature, signed.value(), trust, revocation, now))
}

fn check_signer(
    trust: &Trust,
    leaf: &CertificateDer<'static>,
    certificates: &[CertificateDer<'static>],
    revocation: &Revocation,
    at: Timestamp,
) -> Result<Facts, ChainError> {
    let requirements = Requirements { roots: &trust.roots, eku: &trust.eku, at, revocation };
    let facts = chain::verify_path(leaf, certificates, &requirements)?;
    let issuer = facts.issuer_common_name.as_deref();
    if !trust.issuers.is_empty() && !trust.issuers.iter().any(|name| issuer == Some(name)) {
        return Err(ChainError::WrongIssuer {
            subject: facts.subject,
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
    Ok(facts)
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
