//! One release, from the folder to the file that is served: assemble, lint, prove, sign, replace.
//!
//! ```text
//! lock ─> next serial ─> assemble ─> lint ─> prove ─> sign ─> serial on disk ─> rename feed.xml
//! ```
//!
//! Nothing is replaced unless everything before it went well. The serial is on disk before the feed
//! is: after a crash between the two a serial is left out, which agents do not mind; the same serial
//! with other content they would refuse.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use stopgap_feed::Id;
use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;

use crate::assemble::{AssembleError, Release, assemble};
use crate::folder::{FeedFolder, FolderError, MitigationFolder, read_text, replace_file};
use crate::key::{FileKey, KeyError, Signer};
use crate::lint::{Finding, Settings, is_wanting, lint};
use crate::prove::{ProofReport, Samples, prove};
use crate::sign::{Chain, DEFAULT_CANONICALIZATION, SignError, feed};

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
    /// The signing certificate would not outlive the release.
    #[error(
        "the signing certificate ends at {ends}, before the release does ({expires}): renew the certificate first"
    )]
    CertificateEnds {
        /// Its last moment.
        ends: Timestamp,
        /// `EOCS@expires`.
        expires: Timestamp,
    },
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
            Self::SerialsExhausted => "serials-exhausted",
            Self::Clock { .. } => "clock",
            Self::Lint { .. } => "lint",
            Self::Unproven { .. } => "unproven",
            Self::CertificateEnds { .. } => "certificate-ends",
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

/// A release that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The file that is served.
    pub path: PathBuf,
    /// `EOCS@serial`.
    pub serial: u64,
    /// `EOCS@issued`.
    pub issued: Timestamp,
    /// `EOCS@expires`.
    pub expires: Timestamp,
    /// SHA-256 of the file, in lower-case hexadecimal: what the event stream announces.
    pub sha256: String,
    /// What the linter found and let pass.
    pub findings: Vec<Finding>,
    /// How every request was judged.
    pub proof: ProofReport,
}

/// An unsigned document and all that was found out about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The document.
    pub unsigned: String,
    /// What stands on its root.
    pub release: Release,
    /// The linter's findings, gravest first.
    pub findings: Vec<Finding>,
    /// How every request was judged; empty where no agent would read the document.
    pub proof: ProofReport,
}

/// Assembles, lints and proves the folder as it is, changing nothing: `feed lint` and `feed prove`.
pub fn draft(dir: &Path, now: Timestamp) -> Result<Draft, ReleaseError> {
    draft_of(&FeedFolder::open(dir)?, now)
}

/// Releases the folder as it is, with the signing key in it.
pub fn publish(dir: &Path, now: Timestamp) -> Result<Published, ReleaseError> {
    let folder = FeedFolder::open(dir)?;
    let key = FileKey::from_pem(read_text(&folder.path("signing.key.pem"))?.as_bytes())?;
    let chain = Chain::from_pem(read_text(&folder.path("chain.pem"))?.as_bytes())?;
    publish_with(dir, &key, &chain, now)
}

/// Releases the folder as it is, with a key that is kept elsewhere.
pub fn publish_with(
    dir: &Path,
    signer: &dyn Signer,
    chain: &Chain,
    now: Timestamp,
) -> Result<Published, ReleaseError> {
    let folder = FeedFolder::open(dir)?;
    // Two releases at once would give out one serial twice.
    let _lock = Lock::take(&folder)?;
    let Draft { unsigned, release, findings, proof } = draft_of(&folder, now)?;
    if is_wanting(&findings) {
        return Err(ReleaseError::Lint { findings });
    }
    if !proof.is_proven() {
        return Err(ReleaseError::Unproven { report: proof });
    }
    let ends = chain.ends();
    if ends < release.expires {
        return Err(ReleaseError::CertificateEnds { ends, expires: release.expires });
    }
    let signed = feed(unsigned.as_bytes(), signer, chain, DEFAULT_CANONICALIZATION)?;
    replace_file(&folder.path(SERIAL), format!("{}\n", release.serial).as_bytes())?;
    let path = folder.public_feed();
    replace_file(&path, &signed)?;
    Ok(Published {
        path,
        serial: release.serial,
        issued: release.issued,
        expires: release.expires,
        sha256: crate::sha256_hex(&signed),
        findings,
        proof,
    })
}

fn draft_of(folder: &FeedFolder, now: Timestamp) -> Result<Draft, ReleaseError> {
    let settings = folder.settings();
    let clock = || ReleaseError::Clock { now, days: settings.horizon_days };
    let horizon = SignedDuration::from_hours(i64::from(settings.horizon_days) * 24);
    // Whole seconds, as the document writes them: what is compared below is what agents will read.
    let issued = Timestamp::from_second(now.as_second()).map_err(|_| clock())?;
    let release = Release {
        feed: settings.name.clone(),
        serial: next_serial(folder)?,
        issued,
        expires: issued.checked_add(horizon).map_err(|_| clock())?,
        withdrawn: folder.withdrawn(),
    };
    let mitigations = folder.mitigations()?;
    let configs: Vec<(Id, &str)> = mitigations.iter().map(|m| (m.id.clone(), m.config.as_str())).collect();
    let unsigned = assemble(&release, &configs)?;
    let judged_by = Settings { now: issued, horizon_days: settings.on_call_gap_days };
    let findings = lint(unsigned.as_bytes(), &judged_by);
    let proof = Document::from_unsigned(unsigned.as_bytes(), &Limits::default())
        .map(|document| prove(&document, &samples(mitigations)))
        .unwrap_or_default();
    Ok(Draft { unsigned, release, findings, proof })
}

fn samples(mitigations: Vec<MitigationFolder>) -> BTreeMap<Id, Samples> {
    let samples = |m: MitigationFolder| {
        (m.id, Samples { attack: m.attack, benign: m.benign, responses: m.responses, declared: m.declared })
    };
    mitigations.into_iter().map(samples).collect()
}

const SERIAL: &str = "serial";

fn next_serial(folder: &FeedFolder) -> Result<u64, ReleaseError> {
    let path = folder.path(SERIAL);
    if !path.exists() {
        return Ok(1);
    }
    let text = read_text(&path)?;
    let last: u64 = text
        .trim()
        .parse()
        .map_err(|_| ReleaseError::Serial { path, found: text.chars().take(40).collect() })?;
    last.checked_add(1).ok_or(ReleaseError::SerialsExhausted)
}

/// An exclusive lock on the folder, given up when dropped.
struct Lock(#[allow(dead_code, reason = "the open file is the lock")] fs::File);

impl Lock {
    fn take(folder: &FeedFolder) -> Result<Self, FolderError> {
        let path = folder.path(".lock");
        let lock = |source| FolderError::Io { doing: "lock", path: path.clone(), source };
        let file = fs::File::create(&path).map_err(lock)?;
        file.lock().map_err(lock)?;
        Ok(Self(file))
    }
}
