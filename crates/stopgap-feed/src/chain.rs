//! X.509: from the signer's certificate to a root that the operator named, and nothing else.
//!
//! `rustls-webpki` builds the path: signatures (RSA from 2048 bits, ECDSA; SHA-256 and longer), names,
//! validity, the CA flag, path lengths, name constraints, critical extensions that nobody knows,
//! CRLs. What it leaves to its caller is here:
//!
//! - *key usage*, which it does not read: `digitalSignature` of the leaf, `keyCertSign` of each CA,
//!   where the extension is there;
//! - *extended key usage* of the leaf, one by one: on a CA a usage only limits what is below, and a CA
//!   that has it gives it to nobody;
//! - the *names* of signer and issuer ([`crate::verify()`]);
//! - *directory names* in name constraints it does not compare: it refuses whatever they could apply
//!   to, and so do we.
//!
//! Every path that the certificates allow is tried, those through a cross-signed root among them.
//!
//! Two decisions:
//! - An anchor is a key that the operator trusts for as long as it stands in the trust file. Its own
//!   validity is not judged (RFC 5280 section 6.1.1 (d) gives an anchor none), so that a root that
//!   ran out does not take the channel down with it; trust ends by taking it out of the file.
//! - Any certificate can be an anchor: a root, an intermediate, or the signer's own.

mod explain;
mod revocation;

use std::cell::Cell;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use serde::{Deserialize, Serialize};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, RevocationOptions,
    VerifiedPath, anchor_from_trusted_cert,
};

use crate::certificate::{Facts, Oid};
pub use revocation::{CrlProblem, MAX_CRL_BYTES};

/// `revocation` of a trust file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationMode {
    /// The signer's certificate must be known to be good: without a list of its issuer that verifies
    /// and has not run out it is refused. Of an intermediate no list need be there; it counts as revoked
    /// where one says so. So does every certificate of a timestamp's path, of which no list need be
    /// there either: the timestamp then gives no time. A co-signer is judged by its own trust file's mode.
    Require,
    /// A revoked certificate refuses; that nothing is known does not.
    #[default]
    Prefer,
    /// No list is looked at.
    Off,
}

/// How revocation is judged: the mode and the lists at hand. A listed certificate is revoked
/// whatever date the list gives, for signatures before that date too.
#[derive(Debug, Clone, Default)]
pub struct Revocation {
    /// The mode.
    pub mode: RevocationMode,
    /// Local lists and fetched ones; each counts only where its signature verifies.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

impl Revocation {
    /// No list is looked at.
    pub fn off() -> Self {
        Self { mode: RevocationMode::Off, crls: Vec::new() }
    }
}

/// Why a certificate is not the one that the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ChainError {
    #[error("the certificate of `{subject}` cannot be read: expected X.509 in DER")]
    BadCertificate { subject: String },
    #[error("a trusted root cannot be read: {detail}")]
    BadRoot { detail: String },
    #[error(
        "unknown root: expected a path from `{subject}` (issued by `{issuer}`) to one of: {expected}; found none"
    )]
    UnknownRoot { subject: String, issuer: String, expected: String },
    #[error(
        "a certificate in the path of `{subject}` has expired: expected to be valid at {at}, found valid until {not_after}"
    )]
    Expired { subject: String, not_after: Timestamp, at: Timestamp },
    #[error(
        "a certificate in the path of `{subject}` is not valid yet: expected to be valid at {at}, found valid from {not_before}"
    )]
    NotYetValid { subject: String, not_before: Timestamp, at: Timestamp },
    #[error("a certificate in the path of `{subject}` is revoked")]
    Revoked { subject: String },
    #[error("revocation of `{subject}` is unknown: expected a current CRL of `{issuer}`, found {found}")]
    RevocationUnknown { subject: String, issuer: String, found: CrlProblem },
    #[error(
        "an issuer of `{subject}` is no certificate authority: expected basic constraints that say CA, found none"
    )]
    IssuerIsNotCa { subject: String },
    #[error(
        "an issuer of `{subject}` may not issue certificates: expected key usage keyCertSign, found other usages only"
    )]
    IssuerKeyUsage { subject: String },
    #[error(
        "the path of `{subject}` is too long: expected no more authorities than each one's path length allows"
    )]
    PathTooLong { subject: String },
    #[error("a name in the path of `{subject}` is outside the name constraints of an issuer")]
    NameConstraint { subject: String },
    #[error(
        "a certificate in the path of `{subject}` has a critical extension that this build does not know"
    )]
    UnknownCriticalExtension { subject: String },
    #[error(
        "a certificate in the path of `{subject}` is signed by an unsupported algorithm: expected RSA or ECDSA with SHA-256, SHA-384 or SHA-512"
    )]
    UnsupportedAlgorithm { subject: String },
    #[error("weak key of `{subject}`: expected RSA of 2048 bits or more, found {bits}")]
    WeakKey { subject: String, bits: usize },
    #[error("the path of `{subject}` does not hold: {detail}")]
    BadPath { subject: String, detail: String },
    #[error("wrong extended key usage of {of} `{subject}`: expected {expected}, found {found}")]
    WrongEku { of: &'static str, subject: String, expected: String, found: String },
    #[error("wrong issuer of `{subject}`: expected common name {expected}, found `{found}`")]
    WrongIssuer { subject: String, expected: String, found: String },
    #[error("wrong signer: expected common name `{expected}`, found `{found}`")]
    WrongSigner { expected: String, found: String },
    #[error("wrong key usage of `{subject}`: expected digitalSignature, found other usages only")]
    WrongKeyUsage { subject: String },
    #[error("the signer `{subject}` is a certificate authority: expected an end entity's certificate")]
    SignerIsCa { subject: String },
}

impl ChainError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            ChainError::BadCertificate { .. } => "bad-certificate",
            ChainError::BadRoot { .. } => "bad-root",
            ChainError::UnknownRoot { .. } => "unknown-root",
            ChainError::Expired { .. } => "expired-certificate",
            ChainError::NotYetValid { .. } => "not-yet-valid-certificate",
            ChainError::Revoked { .. } => "revoked-certificate",
            ChainError::RevocationUnknown { found, .. } => found.code(),
            ChainError::IssuerIsNotCa { .. } => "issuer-is-not-ca",
            ChainError::IssuerKeyUsage { .. } => "wrong-issuer-key-usage",
            ChainError::PathTooLong { .. } => "path-too-long",
            ChainError::NameConstraint { .. } => "name-constraint",
            ChainError::UnknownCriticalExtension { .. } => "unknown-critical-extension",
            ChainError::UnsupportedAlgorithm { .. } => "unsupported-certificate-algorithm",
            ChainError::WeakKey { .. } => "weak-key",
            ChainError::BadPath { .. } => "bad-path",
            ChainError::WrongEku { .. } => "wrong-eku",
            ChainError::WrongIssuer { .. } => "wrong-issuer",
            ChainError::WrongSigner { .. } => "wrong-signer",
            ChainError::WrongKeyUsage { .. } => "wrong-key-usage",
            ChainError::SignerIsCa { .. } => "signer-is-ca",
        }
    }
}

/// What a path must be.
#[derive(Debug, Clone, Copy)]
pub struct Requirements<'a> {
    /// Anchors: a path ends in one of these and nowhere else.
    pub roots: &'a [CertificateDer<'static>],
    /// Extended key usages that the leaf must all have; an intermediate that is limited to some must
    /// allow them.
    pub eku: &'a [Oid],
    /// When certificates must be valid.
    pub at: Timestamp,
    /// Which lists count.
    pub revocation: &'a Revocation,
}

/// A leaf with a path that holds.
pub(crate) struct Path {
    /// The leaf's.
    pub(crate) facts: Facts,
    /// The certificates of the path below its anchor, the leaf first; none where the leaf is the anchor.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

/// Verifies that `leaf` is an end entity's certificate with a path through `intermediates` that
/// fulfills the requirements. Returns the leaf's facts.
pub fn verify_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    requirements: &Requirements<'_>,
) -> Result<Facts, ChainError> {
    find_path(leaf, intermediates, requirements).map(|path| path.facts)
}

/// [`verify_path`], and which path it was.
pub(crate) fn find_path(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    requirements: &Requirements<'_>,
) -> Result<Path, ChainError> {
    let facts = Facts::read(leaf)
        .ok_or_else(|| ChainError::BadCertificate { subject: "the signature's leaf".to_owned() })?;
    if facts.ca {
        return Err(ChainError::SignerIsCa { subject: facts.subject });
    }
    let certificates = build(leaf, intermediates, requirements, &facts)?;
    if facts.digital_signature == Some(false) {
        return Err(ChainError::WrongKeyUsage { subject: facts.subject });
    }
    if !requirements.eku.iter().all(|oid| facts.eku.contains(oid)) {
        return Err(wrong_eku("the signer", &facts, requirements));
    }
    Ok(Path { facts, certificates })
}

fn build(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    requirements: &Requirements<'_>,
    facts: &Facts,
) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let explain = |error| explain::explain(error, facts, intermediates, requirements);
    let end_entity = EndEntityCert::try_from(leaf).map_err(explain)?;
    if requirements.roots.iter().any(|root| root.as_ref() == leaf.as_ref()) {
        return pinned_leaf(requirements, facts).map(|()| Vec::new());
    }
    let anchors: Vec<TrustAnchor<'_>> = requirements
        .roots
        .iter()
        .map(|root| anchor_from_trusted_cert(root).map_err(|e| ChainError::BadRoot { detail: e.to_string() }))
        .collect::<Result<_, _>>()?;
    // A time before 1970 is before every certificate.
    let seconds = u64::try_from(requirements.at.as_second()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    // The builder goes on to the next path where this refuses one.
    let wrong_key_usage = Cell::new(false);
    let may_issue = |path: &VerifiedPath<'_>| {
        let fine = path
            .intermediate_certificates()
            .all(|ca| Facts::read(&ca.der()).is_some_and(|ca| ca.key_cert_sign != Some(false)));
        wrong_key_usage.set(wrong_key_usage.get() || !fine);
        if fine { Ok(()) } else { Err(webpki::Error::ExtensionValueInvalid) }
    };
    let build = |revocation: Option<RevocationOptions<'_>>| {
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let usages = Usages(requirements.eku);
        end_entity.verify_for_usage(
            algorithms,
            &anchors,
            intermediates,
            time,
            usages,
            revocation,
            Some(&may_issue),
        )
    };
    let path = build(None).map_err(|error| match wrong_key_usage.get() {
        true => ChainError::IssuerKeyUsage { subject: facts.subject.clone() },
        false => explain(error),
    })?;
    revocation::check(requirements.revocation, facts, |options| build(Some(options)).map(|_| ()))?;
    let authorities = path.intermediate_certificates().map(|ca| ca.der().into_owned());
    Ok([leaf.clone().into_owned()].into_iter().chain(authorities).collect())
}

/// The signer's own certificate is the anchor: the path is that certificate alone. Its validity is
/// judged, since it is the signer's; no list of it is authoritative.
fn pinned_leaf(requirements: &Requirements<'_>, facts: &Facts) -> Result<(), ChainError> {
    let (subject, at) = (facts.subject.clone(), requirements.at);
    if at < facts.not_before {
        return Err(ChainError::NotYetValid { subject, not_before: facts.not_before, at });
    }
    if at > facts.not_after {
        return Err(ChainError::Expired { subject, not_after: facts.not_after, at });
    }
    Ok(())
}

/// RFC 5280 section 4.2.1.12, down the path: a certificate without the extension limits nothing, one
/// with it must allow each required usage. ([`verify_path`] demands more of the leaf.)
struct Usages<'a>(&'a [Oid]);

impl ExtendedKeyUsageValidator for Usages<'_> {
    fn validate(&self, present: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        const ANY: Oid = Oid::new_unwrap("2.5.29.37.0");
        let mut limited = false;
        let mut missing: Vec<&Oid> = self.0.iter().collect();
        for id in present {
            let id = id?;
            limited = true;
            if id == KeyPurposeId::new(ANY.as_bytes()) {
                return Ok(());
            }
            missing.retain(|oid| id != KeyPurposeId::new(oid.as_bytes()));
        }
        if limited && !missing.is_empty() { Err(webpki::Error::EmptyEkuExtension) } else { Ok(()) }
    }
}

fn wrong_eku(of: &'static str, facts: &Facts, requirements: &Requirements<'_>) -> ChainError {
    let list = |oids: Vec<String>| if oids.is_empty() { "none".to_owned() } else { oids.join(", ") };
    ChainError::WrongEku {
        of,
        subject: facts.subject.clone(),
        expected: list(requirements.eku.iter().map(ToString::to_string).collect()),
        found: if of == "the signer" {
            list(facts.eku.iter().map(ToString::to_string).collect())
        } else {
            "an issuer that is limited to others".to_owned()
        },
    }
}
