//! A release whose signature is made elsewhere, by a key that this machine never sees.
//!
//! ```text
//! prepare: assemble, lint, prove ─> waiting/ ──> F.tosign ──> (hardware module, offline machine)
//! assemble: signature ─> checked against waiting/ ─> released as any other
//! ```

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use stopgap_feed::document::Document;
use stopgap_feed::dsig::SignatureMethod;
use stopgap_feed::limits::Limits;

use crate::assemble::Release;
use crate::folder::{FeedFolder, create_dir, read_octets, replace_file};
use crate::prove::ProofReport;
use crate::release::{Draft, Published, ReleaseError, fit_draft, next_serial, own_chain, put_out, renewal};
use crate::sign::{DEFAULT_CANONICALIZATION, SignError, complete, prepare as prepare_octets};

const UNSIGNED: &str = "waiting/unsigned.xml";
const WAITING: &str = "waiting/signed.xml";
/// Octets of a signature: RSA of 4096 bits in base64 has 700.
const SIGNATURE_MAX: u64 = 16 * 1024;

/// Why nothing was handed over, or released.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// As for any release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The signature is not of this document, or not by its key.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// `feed prepare` comes first.
    #[error("no release waits for a signature: `feed prepare` makes one")]
    NothingWaits,
    /// Another release was made in between.
    #[error("serial {waiting} waits, and {next} is next: another release came in between; prepare again")]
    Overtaken {
        /// The serial of what waits.
        waiting: u64,
        /// The serial that a release would have now.
        next: u64,
    },
    /// It has ended while it waited.
    #[error("what waits ended at {expires}: prepare again")]
    Stale {
        /// `EOCS@expires`.
        expires: Timestamp,
    },
    /// The signature file.
    #[error("{}: expected a signature, found no such file", path.display())]
    NoSignature {
        /// The file.
        path: PathBuf,
    },
}

impl HandoverError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Release(error) => error.code(),
            Self::Sign(error) => error.code(),
            Self::NothingWaits => "nothing-waits",
            Self::Overtaken { .. } => "overtaken",
            Self::Stale { .. } => "stale",
            Self::NoSignature { .. } => "no-signature",
        }
    }
}

impl From<crate::folder::FolderError> for HandoverError {
    fn from(error: crate::folder::FolderError) -> Self {
        Self::Release(error.into())
    }
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The serial that it will have.
    pub serial: u64,
    /// When it will end.
    pub expires: Timestamp,
    /// The digest of the signature, as `openssl dgst` names it: `sha256` or `sha384`.
    pub digest: &'static str,
    /// SHA-256 of the octets to be signed, in lower-case hexadecimal: what two people compare.
    pub sha256: String,
}

/// Makes the next release but for its signature, and writes the octets that are to be signed to `out`. With `again`
/// it says again what was released last. What waited before is forgotten.
pub fn prepare(dir: &Path, out: &Path, again: bool, now: Timestamp) -> Result<Waiting, HandoverError> {
    let (folder, _lock) = FeedFolder::open_locked(dir)?;
    let draft = if again { renewal(&folder, now)? } else { fit_draft(&folder, now)? };
    let chain = own_chain(&folder, now)?;
    let prepared = prepare_octets(draft.unsigned.as_bytes(), &chain, DEFAULT_CANONICALIZATION)?;
    create_dir(&folder.path("waiting"))?;
    replace_file(&folder.path(UNSIGNED), draft.unsigned.as_bytes())?;
    replace_file(&folder.path(WAITING), prepared.waiting.as_bytes())?;
    replace_file(out, &prepared.signed_info)?;
    let digest = if prepared.method == SignatureMethod::EcdsaSha384 { "sha384" } else { "sha256" };
    let Release { serial, expires, .. } = draft.release;
    Ok(Waiting { serial, expires, digest, sha256: crate::sha256_hex(&prepared.signed_info) })
}

/// Releases what waits, with this signature.
pub fn assemble(dir: &Path, signature: &Path, now: Timestamp) -> Result<Published, HandoverError> {
    let (folder, _lock) = FeedFolder::open_locked(dir)?;
    let limit = Limits::default().bytes as u64;
    let unsigned = read_octets(&folder.path(UNSIGNED), limit)?.ok_or(HandoverError::NothingWaits)?;
    let waiting = read_octets(&folder.path(WAITING), limit)?.ok_or(HandoverError::NothingWaits)?;
    let none = || HandoverError::NoSignature { path: signature.to_owned() };
    let signature = read_octets(signature, SIGNATURE_MAX)?.ok_or_else(none)?;

    let unsigned = String::from_utf8_lossy(&unsigned).into_owned();
    let release = release_of(&unsigned).ok_or(HandoverError::NothingWaits)?;
    let next = next_serial(&folder)?;
    if release.serial != next {
        return Err(HandoverError::Overtaken { waiting: release.serial, next });
    }
    if release.expires <= now {
        return Err(HandoverError::Stale { expires: release.expires });
    }
    let signed = complete(&String::from_utf8_lossy(&waiting), &signature)?;
    let draft = Draft { unsigned, release, findings: Vec::new(), proof: ProofReport::default() };
    let published = put_out(&folder, draft, &signed, &own_chain(&folder, now)?)?;
    for file in [WAITING, UNSIGNED] {
        // What is left there has a serial that is gone, and is refused.
        let _ = std::fs::remove_file(folder.path(file));
    }
    Ok(published)
}

/// The head of a document that this crate assembled.
fn release_of(unsigned: &str) -> Option<Release> {
    let document = Document::from_unsigned(unsigned.as_bytes(), &Limits::default()).ok()?;
    Some(Release {
        feed: document.feed?,
        serial: document.serial?,
        issued: document.issued?,
        expires: document.expires?,
        withdrawn: document.withdrawn,
    })
}
