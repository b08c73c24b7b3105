//! Which revocation lists count, and what their silence means.

use std::fmt;

use jiff::Timestamp;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, ExpirationPolicy, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::explain::timestamp;
use super::{ChainError, Revocation, RevocationMode};
use crate::certificate::Facts;

/// Octets of a list that is looked at: an authority with three hundred thousand revoked certificates
/// fits.
pub const MAX_CRL_BYTES: usize = 16 * 1024 * 1024;

/// Why no list says that the signer is good. Of several lists, the one that came closest is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CrlProblem {
    Missing,
    TooLarge { octets: usize },
    Unreadable { detail: String },
    OtherIssuer,
    Invalid { detail: String },
    Forged,
    Expired { next_update: Timestamp },
}

impl CrlProblem {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            CrlProblem::Missing => "crl-missing",
            CrlProblem::TooLarge { .. } => "crl-too-large",
            CrlProblem::Unreadable { .. } => "crl-unreadable",
            CrlProblem::OtherIssuer => "crl-other-issuer",
            CrlProblem::Invalid { .. } => "crl-invalid",
            CrlProblem::Forged => "crl-forged",
            CrlProblem::Expired { .. } => "crl-expired",
        }
    }
}

impl fmt::Display for CrlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CrlProblem::Missing => write!(f, "no list at all"),
            CrlProblem::TooLarge { octets } => {
                write!(f, "one of {octets} octets, where {MAX_CRL_BYTES} are read")
            }
            CrlProblem::Unreadable { detail } => write!(f, "one that cannot be read ({detail})"),
            CrlProblem::OtherIssuer => write!(f, "none of that issuer"),
            CrlProblem::Invalid { detail } => write!(f, "one that does not hold ({detail})"),
            CrlProblem::Forged => write!(f, "one of that name which another key signed"),
            CrlProblem::Expired { next_update } => write!(f, "one that ran out at {next_update}"),
        }
    }
}

/// Judges a path that holds otherwise. Each list is asked on its own, so that one that is damaged,
/// stale or forged takes nothing from the others and, in [`RevocationMode::Prefer`], stops nobody:
/// whoever can damage a list on its way can also hold it back.
pub(super) fn check(
    revocation: &Revocation,
    facts: &Facts,
    build: impl Fn(RevocationOptions<'_>) -> Result<(), webpki::Error>,
) -> Result<(), ChainError> {
    if revocation.mode == RevocationMode::Off {
        return Ok(());
    }
    let mut leaf_is_good = false;
    let mut found = CrlProblem::Missing;
    for der in &revocation.crls {
        match ask(der, facts, &build)? {
            None => leaf_is_good = true,
            Some(problem) => found = found.max(problem),
        }
    }
    if revocation.mode == RevocationMode::Require && !leaf_is_good {
        let (subject, issuer) = (facts.subject.clone(), facts.issuer.clone());
        return Err(ChainError::RevocationUnknown { subject, issuer, found });
    }
    Ok(())
}

/// What one list says: `None` where the signer is good by it.
fn ask(
    der: &[u8],
    facts: &Facts,
    build: &impl Fn(RevocationOptions<'_>) -> Result<(), webpki::Error>,
) -> Result<Option<CrlProblem>, ChainError> {
    if der.len() > MAX_CRL_BYTES {
        return Ok(Some(CrlProblem::TooLarge { octets: der.len() }));
    }
    let crl = match BorrowedCertRevocationList::from_der(der) {
        Ok(crl) => CertRevocationList::from(crl),
        Err(error) => return Ok(Some(CrlProblem::Unreadable { detail: error.to_string() })),
    };
    let crls = [&crl];
    let Ok(options) = RevocationOptionsBuilder::new(&crls) else { return Ok(Some(CrlProblem::Missing)) };
    let known = options.with_status_policy(UnknownStatusPolicy::Allow).build();
    if build(known) == Err(webpki::Error::CertRevoked) {
        return Err(ChainError::Revoked { subject: facts.subject.clone() });
    }
    let strict = options
        .with_depth(RevocationCheckDepth::EndEntity)
        .with_expiration_policy(ExpirationPolicy::Enforce)
        .build();
    Ok(match build(strict) {
        Ok(()) => None,
        Err(webpki::Error::UnknownRevocationStatus) => Some(CrlProblem::OtherIssuer),
        Err(webpki::Error::InvalidCrlSignatureForPublicKey) => Some(CrlProblem::Forged),
        Err(webpki::Error::CrlExpired { next_update, .. }) => {
            Some(CrlProblem::Expired { next_update: timestamp(next_update) })
        }
        Err(error) => Some(CrlProblem::Invalid { detail: error.to_string() }),
    })
}
