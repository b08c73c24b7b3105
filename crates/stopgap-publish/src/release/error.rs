//! Why nothing was released.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_feed::Refusal;
use stopgap_feed::scan::ScanError;

use super::RELEASED;
use crate::assemble::AssembleError;
use crate::cosign::CosignError;
use crate::folder::FolderError;
use crate::key::KeyError;
use crate::lint::Finding;
use crate::prove::ProofReport;
use crate::revoke::RevokeError;
use crate::sign::SignError;

/// Why nothing was released. What was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The mitigations do not make a document.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// `serial` holds something else.
    #[error("{}: expected a number, found {found:?}", path.display())]
    Serial {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// An older state of the folder, or somebody else's release: agents would refuse a serial that they have seen.
    #[error(
        "{} has serial {found}, and the last one here is {last}: write a number that was never released into `serial`", path.display()
    )]
    SerialBehind {
        /// What is served.
        path: PathBuf,
        /// Its serial.
        found: u64,
        /// The last one that was given out here.
        last: u64,
    },
    /// The last serial was the largest.
    #[error("there is no serial after {}", u64::MAX)]
    SerialsExhausted,
    /// Issue or expiry leaves the calendar.
    #[error("no release can be valid for {days} days from {now} on")]
    Clock {
        /// The time that was given.
        now: Timestamp,
        /// `horizon_days`.
        days: u16,
    },
    /// The linter.
    #[error("the document must not be released: {}", first(findings))]
    Lint {
        /// All findings, gravest first.
        findings: Vec<Finding>,
    },
    /// The proof.
    #[error("the mitigations do not do what they should: {}", failures(report))]
    Unproven {
        /// Every case.
        report: ProofReport,
    },
    /// A certificate of the chain would not outlive the release, or is of the future.
    #[error(
        "a certificate of the chain is valid from {begins} to {ends}, and the release from {issued} to {expires}: renew the certificate first (`feed rotate`)"
    )]
    CertificateEnds {
        /// The first moment of the chain.
        begins: Timestamp,
        /// Its last moment.
        ends: Timestamp,
        /// `EOCS@issued`.
        issued: Timestamp,
        /// `EOCS@expires`.
        expires: Timestamp,
    },
    /// Subscribers with this feed's own trust file would refuse it.
    #[error("a subscriber with the feed's trust file would refuse the release: {0}")]
    Disbelieved(#[source] Box<Refusal>),
    /// The trust file cannot be used.
    #[error("the feed's trust file {} cannot be used: {reason}", path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// `released.xml` is no document any more.
    #[error("{RELEASED} cannot be read")]
    Released(#[from] ScanError),
    /// There is nothing to renew.
    #[error("nothing was released yet: `feed publish` makes the first release")]
    NothingReleased,
    /// The feed's own authorities.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// A co-signature that stands beside the feed.
    #[error(transparent)]
    Cosign(#[from] CosignError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signature.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl ReleaseError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Folder(error) => error.code(),
            Self::Assemble(error) => error.code(),
            Self::Serial { .. } => "bad-serial",
            Self::SerialBehind { .. } => "serial-behind",
            Self::SerialsExhausted => "serials-exhausted",
            Self::Clock { .. } => "clock",
            Self::Lint { .. } => "lint",
            Self::Unproven { .. } => "unproven",
            Self::CertificateEnds { .. } => "certificate-ends",
            Self::Disbelieved(refusal) => refusal.code(),
            Self::Trust { .. } => "bad-trust",
            Self::Released(error) => error.code(),
            Self::NothingReleased => "nothing-released",
            Self::Revoke(error) => error.code(),
            Self::Cosign(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Sign(error) => error.code(),
        }
    }
}

fn first(findings: &[Finding]) -> String {
    findings.first().map(ToString::to_string).unwrap_or_default()
}

fn failures(report: &ProofReport) -> String {
    let broken = report.broken.iter().map(|broken| format!("{}: {}", broken.action, broken.reason));
    let mut all = broken.chain(report.failed().map(ToString::to_string));
    let first = all.next().unwrap_or_default();
    match all.count() {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
