//! What a path builder's error means for the one who reads it.

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{ChainError, Requirements, wrong_eku};
use crate::certificate::Facts;

/// RSA keys of fewer bits are refused (NIST SP 800-131A).
const RSA_BITS: usize = 2048;

pub(super) fn explain(
    error: webpki::Error,
    facts: &Facts,
    intermediates: &[CertificateDer<'_>],
    requirements: &Requirements<'_>,
) -> ChainError {
    let subject = facts.subject.clone();
    let issuer = facts.issuer.clone();
    let at = requirements.at;
    match error {
        // A root of the right name and another key is another root.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            if let Some(weak) = weak_issuer(facts, intermediates, requirements) {
                return weak;
            }
            let names = requirements.roots.iter().map(|root| {
                Facts::read(root)
                    .map_or_else(|| "an unreadable root".to_owned(), |f| format!("`{}`", f.subject))
            });
            let expected = names.collect::<Vec<_>>().join(", ");
            let expected = if expected.is_empty() { "(no root is configured)".to_owned() } else { expected };
            ChainError::UnknownRoot { subject, issuer, expected }
        }
        webpki::Error::CertExpired { not_after, .. } => {
            ChainError::Expired { subject, not_after: timestamp(not_after), at }
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            ChainError::NotYetValid { subject, not_before: timestamp(not_before), at }
        }
        webpki::Error::EmptyEkuExtension => {
            let leaf_is_fine = requirements.eku.iter().all(|oid| facts.eku.contains(oid));
            let of = if leaf_is_fine { "an issuer of" } else { "the signer" };
            wrong_eku(of, facts, requirements)
        }
        webpki::Error::EndEntityUsedAsCa => ChainError::IssuerIsNotCa { subject },
        webpki::Error::PathLenConstraintViolated | webpki::Error::MaximumPathDepthExceeded => {
            ChainError::PathTooLong { subject }
        }
        webpki::Error::NameConstraintViolation => ChainError::NameConstraint { subject },
        webpki::Error::UnsupportedCriticalExtension => ChainError::UnknownCriticalExtension { subject },
        webpki::Error::UnsupportedSignatureAlgorithmContext(_) => {
            ChainError::UnsupportedAlgorithm { subject }
        }
        other => ChainError::BadPath { subject, detail: other.to_string() },
    }
}

pub(super) fn timestamp(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX)
}

/// The builder takes the signature of a key that is too short for that of another key.
fn weak_issuer(
    facts: &Facts,
    intermediates: &[CertificateDer<'_>],
    requirements: &Requirements<'_>,
) -> Option<ChainError> {
    let path: Vec<Facts> = intermediates.iter().filter_map(Facts::read).collect();
    let roots = requirements.roots.iter().filter_map(Facts::read);
    let issues = |ca: &Facts| path.iter().chain([facts]).any(|below| below.issuer == ca.subject);
    roots.chain(path.iter().cloned()).filter(issues).find_map(|ca| {
        let bits = ca.rsa_bits.filter(|bits| *bits < RSA_BITS)?;
        Some(ChainError::WeakKey { subject: ca.subject, bits })
    })
}
