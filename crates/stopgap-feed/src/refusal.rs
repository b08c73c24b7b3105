//! Why a document was not accepted: one error for every reason, each with a stable code.

use jiff::Timestamp;

use crate::chain::ChainError;
use crate::cosignature::CosignatureError;
use crate::document::DocumentError;
use crate::dsig::SignatureError;
use crate::id::FeedName;
use crate::scan::ScanError;
use crate::timestamp::TimestampError;

/// Why a document was refused, whole. (A mitigation that this build does not know is no refusal:
/// [`crate::document::Mitigation::unsupported`].)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    /// The octets are not XML that this crate reads.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// The signature is missing, of another profile, or does not fit.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The signer is not whom the operator trusts. `timestamp`: why the time of a timestamp was not
    /// the one at which that was judged, where the document has one.
    #[error("{error}{}", beside(timestamp))]
    Chain { error: Box<ChainError>, timestamp: Option<Box<TimestampError>> },
    /// The signed text is not a feed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error(
        "the document has no freshness: expected feed, serial, issued and expires, found version {version} without"
    )]
    FreshnessMissing { version: String },
    #[error("wrong feed: expected a document of `{expected}`, found one of `{found}`")]
    WrongFeed { expected: FeedName, found: FeedName },
    #[error("rollback: expected serial {last_seen} or higher, found {found}")]
    Rollback { last_seen: u64, found: u64 },
    #[error("serial {serial} was used before with other content: expected SHA-256 {expected}, found {found}")]
    SerialReused { serial: u64, expected: String, found: String },
    #[error("the document is of the future: expected to be issued by {now}, found {issued}")]
    NotYetIssued { issued: Timestamp, now: Timestamp },
    #[error("the document has expired: expected to be valid at {now}, found valid until {expires}")]
    Expired { expires: Timestamp, now: Timestamp },
    #[error(
        "this machine's clock is not set: expected a time after {floor}, found {now}; set it (NTP) and try again"
    )]
    ClockNotSet { now: Timestamp, floor: Timestamp },
    #[error(
        "this machine's clock was set back: expected a time after {last_issued}, when the last accepted document was issued, found {now}"
    )]
    ClockSetBack { last_issued: Timestamp, now: Timestamp },
    #[error("too few signatures: expected {expected} of different keys, found {found}{}", list(errors))]
    TooFewSignatures { expected: usize, found: usize, errors: Vec<CosignatureError> },
}

impl Refusal {
    /// The stable name of the reason, in kebab case. Scripts rely on it.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Scan(error) => error.code(),
            Refusal::Signature(error) => error.code(),
            Refusal::Chain { error, .. } => error.code(),
            Refusal::Document(error) => error.code(),
            Refusal::FreshnessMissing { .. } => "freshness-missing",
            Refusal::WrongFeed { .. } => "wrong-feed",
            Refusal::Rollback { .. } => "rollback",
            Refusal::SerialReused { .. } => "serial-reused",
            Refusal::NotYetIssued { .. } => "not-yet-issued",
            Refusal::Expired { .. } => "expired",
            Refusal::ClockNotSet { .. } => "clock-not-set",
            Refusal::ClockSetBack { .. } => "clock-set-back",
            Refusal::TooFewSignatures { .. } => "too-few-signatures",
        }
    }
}

fn beside(timestamp: &Option<Box<TimestampError>>) -> String {
    timestamp.as_ref().map(|error| format!(" (judged at now: {error})")).unwrap_or_default()
}

fn list(errors: &[CosignatureError]) -> String {
    errors.iter().map(|error| format!("; {error}")).collect()
}
