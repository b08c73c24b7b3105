//! One release, from the folder to the file that is served: assemble, lint, prove, sign, look at it
//! as a subscriber will, replace.
//!
//! ```text
//! lock ─> next serial ─> assemble ─> lint ─> prove ─> sign ─> believe ─> serial on disk
//!                └─ renew: what was released last ─┘             ─> old co-signatures away ─> rename feed.xml
//! ```
//!
//! Nothing is replaced unless everything before it went well. The serial is on disk before the feed
//! is: after a crash between the two a serial is left out, which agents do not mind; the same serial
//! with other content they would refuse. A renewal says again what was released, not what the folder
//! holds by now: work in progress stays there, and nobody need be awake to prove it.

mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;
use stopgap_feed::{Id, Revocation, RevocationMode, Trust, TrustFile};

use crate::assemble::{Release, assemble, reissue};
use crate::cosign;
use crate::folder::{FeedFolder, FeedSettings, Lock, MitigationFolder, read_octets, read_text, replace_file};
use crate::key::{Ask, FileKey, Signer, nobody_to_ask};
use crate::lint::{Finding, Settings, is_wanting, lint};
use crate::prove::{ProofReport, Samples, prove};
use crate::revoke::own_lists;
use crate::sign::{Chain, DEFAULT_CANONICALIZATION, feed};

pub use error::ReleaseError;

const SERIAL: &str = "serial";
/// What was released last, unsigned: on the web server it could have been changed.
const RELEASED: &str = "released.xml";

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

/// Releases the folder as it is, with the signing key in it, which no passphrase protects.
pub fn publish(dir: &Path, now: Timestamp) -> Result<Published, ReleaseError> {
    publish_asking(dir, &mut nobody_to_ask, now)
}

/// Releases the folder as it is, with the signing key in it; `ask` is called where a passphrase protects it.
pub fn publish_asking(dir: &Path, ask: Ask<'_>, now: Timestamp) -> Result<Published, ReleaseError> {
    let (folder, _lock, key, chain) = open_with_key(dir, ask, now)?;
    publish_locked(&folder, &key, &chain, now)
}

/// Releases the folder as it is, with a key that is kept elsewhere.
pub fn publish_with(
    dir: &Path,
    signer: &dyn Signer,
    chain: &Chain,
    now: Timestamp,
) -> Result<Published, ReleaseError> {
    let (folder, _lock) = FeedFolder::open_locked(dir)?;
    publish_locked(&folder, signer, chain, now)
}

pub(crate) fn publish_locked(
    folder: &FeedFolder,
    signer: &dyn Signer,
    chain: &Chain,
    now: Timestamp,
) -> Result<Published, ReleaseError> {
    let draft = fit_draft(folder, now)?;
    let signed = feed(draft.unsigned.as_bytes(), signer, chain, DEFAULT_CANONICALIZATION)?;
    put_out(folder, draft, &signed, chain)
}

/// Releases again what was released last, with the next serial and a new end.
pub fn renew(dir: &Path, ask: Ask<'_>, now: Timestamp) -> Result<Published, ReleaseError> {
    let (folder, _lock, key, chain) = open_with_key(dir, ask, now)?;
    let draft = renewal(&folder, now)?;
    let signed = feed(draft.unsigned.as_bytes(), &key, &chain, DEFAULT_CANONICALIZATION)?;
    put_out(&folder, draft, &signed, &chain)
}

/// The folder, locked, with its signing key and chain.
pub(crate) fn open_with_key(
    dir: &Path,
    ask: Ask<'_>,
    now: Timestamp,
) -> Result<(FeedFolder, Lock, FileKey, Chain), ReleaseError> {
    // What was cut off is ended before the key is read. The lock is not held while a person is asked: a question that
    // waits over night must not hold up the timer that renews.
    let (folder, lock) = FeedFolder::open_locked(dir)?;
    drop(lock);
    let key = FileKey::read(&folder.path("signing.key.pem"), ask)?;
    let (folder, lock) = FeedFolder::open_locked(dir)?;
    let chain = own_chain(&folder, now)?;
    Ok((folder, lock, key, chain))
}

/// What a signature carries: the chain, and the new root's cross-certificate for as long as it holds.
pub(crate) fn own_chain(folder: &FeedFolder, now: Timestamp) -> Result<Chain, ReleaseError> {
    let pem = read_text(&folder.path("chain.pem"))?;
    let cross = folder.path("cross.pem");
    if cross.exists() {
        let crossed = Chain::from_pem(format!("{pem}{}", read_text(&cross)?).as_bytes())?;
        if crossed.ends() >= expiry(folder.settings(), now)? {
            return Ok(crossed);
        }
        tracing::warn!(ends = %crossed.ends(), "the cross-certificate ends before the release, and is left out");
    }
    Ok(Chain::from_pem(pem.as_bytes())?)
}

/// A draft that may be released.
pub(crate) fn fit_draft(folder: &FeedFolder, now: Timestamp) -> Result<Draft, ReleaseError> {
    let draft = draft_of(folder, now)?;
    if is_wanting(&draft.findings) {
        return Err(ReleaseError::Lint { findings: draft.findings });
    }
    if !draft.proof.is_proven() {
        return Err(ReleaseError::Unproven { report: draft.proof });
    }
    Ok(draft)
}

/// What was released last, under a new head. What it holds was judged then; the head is judged now.
pub(crate) fn renewal(folder: &FeedFolder, now: Timestamp) -> Result<Draft, ReleaseError> {
    let last = last_released(folder)?.ok_or(ReleaseError::NothingReleased)?;
    let release = next_release(folder, now)?;
    let unsigned = reissue(&String::from_utf8_lossy(&last), &release)?;
    let judged_by = Settings { now: release.issued, horizon_days: folder.settings().on_call_gap_days };
    let mut findings = lint(unsigned.as_bytes(), &judged_by);
    findings.retain(|finding| finding.mitigation.is_none());
    if is_wanting(&findings) {
        return Err(ReleaseError::Lint { findings });
    }
    Ok(Draft { unsigned, release, findings, proof: ProofReport::default() })
}

/// What was released last, unsigned.
pub(crate) fn last_released(folder: &FeedFolder) -> Result<Option<Vec<u8>>, ReleaseError> {
    Ok(read_octets(&folder.path(RELEASED), Limits::default().bytes as u64)?)
}

/// From a signed document to the file that is served.
pub(crate) fn put_out(
    folder: &FeedFolder,
    draft: Draft,
    signed: &[u8],
    chain: &Chain,
) -> Result<Published, ReleaseError> {
    let Draft { unsigned, release, findings, proof } = draft;
    let Release { serial, issued, expires, .. } = release;
    let (begins, ends) = (chain.begins(), chain.ends());
    if ends < expires || begins > issued {
        return Err(ReleaseError::CertificateEnds { begins, ends, issued, expires });
    }
    believe(folder, signed, issued, expires)?;
    replace_file(&folder.path(SERIAL), format!("{serial}\n").as_bytes())?;
    replace_file(&folder.path(RELEASED), unsigned.as_bytes())?;
    let path = folder.public_feed();
    // Before the rename: the new document never has an old co-signature beside it.
    cosign::retire(folder, signed)?;
    replace_file(&path, signed)?;
    Ok(Published { path, serial, issued, expires, sha256: crate::sha256_hex(signed), findings, proof })
}

/// Looks at a release as a subscriber with the feed's own trust file does, in its first and its last second, and with
/// the feed's own revocation lists.
fn believe(
    folder: &FeedFolder,
    signed: &[u8],
    issued: Timestamp,
    expires: Timestamp,
) -> Result<(), ReleaseError> {
    let Some(trust) = own_trust(folder)? else { return Ok(()) };
    let revocation = Revocation { mode: RevocationMode::Prefer, crls: own_lists(folder)? };
    let last = expires.checked_sub(SignedDuration::from_secs(1)).unwrap_or(expires);
    for at in [issued, last] {
        stopgap_feed::verify(&trust, signed, None, &revocation, at)
            .map_err(|refusal| ReleaseError::Disbelieved(Box::new(refusal)))?;
    }
    Ok(())
}

/// `trust.toml`, for one signature: the others come after the release.
fn own_trust(folder: &FeedFolder) -> Result<Option<Trust>, ReleaseError> {
    let path = folder.path("trust.toml");
    if !path.exists() {
        return Ok(None);
    }
    let unusable = |reason: String| ReleaseError::Trust { path: path.clone(), reason };
    let file: TrustFile = toml::from_str(&read_text(&path)?).map_err(|error| unusable(error.to_string()))?;
    let alone = TrustFile { signatures: 1, cosigners: Vec::new(), cosigned: Vec::new(), ..file };
    let trust = alone.load_with(|name| std::fs::read(folder.path(name)));
    let trust = trust.map_err(|error| unusable(error.to_string()))?;
    Ok(Some(trust.for_feed(folder.settings().name.clone())))
}

/// When a release of now would end.
fn expiry(settings: &FeedSettings, now: Timestamp) -> Result<Timestamp, ReleaseError> {
    let horizon = SignedDuration::from_hours(i64::from(settings.horizon_days) * 24);
    now.checked_add(horizon).map_err(|_| ReleaseError::Clock { now, days: settings.horizon_days })
}

fn next_release(folder: &FeedFolder, now: Timestamp) -> Result<Release, ReleaseError> {
    let settings = folder.settings();
    let clock = |_| ReleaseError::Clock { now, days: settings.horizon_days };
    // Whole seconds, as the document writes them: what is compared below is what agents will read.
    let issued = Timestamp::from_second(now.as_second()).map_err(clock)?;
    Ok(Release {
        feed: settings.name.clone(),
        serial: next_serial(folder)?,
        issued,
        expires: expiry(settings, issued)?,
        withdrawn: folder.withdrawn(),
    })
}

fn draft_of(folder: &FeedFolder, now: Timestamp) -> Result<Draft, ReleaseError> {
    let release = next_release(folder, now)?;
    let mitigations = folder.mitigations()?;
    let configs: Vec<(Id, &str)> = mitigations.iter().map(|m| (m.id.clone(), m.config.as_str())).collect();
    let unsigned = assemble(&release, &configs)?;
    let judged_by = Settings { now: release.issued, horizon_days: folder.settings().on_call_gap_days };
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

pub(crate) fn next_serial(folder: &FeedFolder) -> Result<u64, ReleaseError> {
    let path = folder.path(SERIAL);
    let mut last = 0;
    if path.exists() {
        let text = read_text(&path)?;
        last = text
            .trim()
            .parse()
            .map_err(|_| ReleaseError::Serial { path, found: text.chars().take(40).collect() })?;
    }
    let path = folder.public_feed();
    let limits = Limits::default();
    let served = read_octets(&path, limits.bytes as u64)?.and_then(|octets| serial_of(&octets, &limits));
    if let Some(found) = served.filter(|served| *served > last) {
        return Err(ReleaseError::SerialBehind { path, found, last });
    }
    last.checked_add(1).ok_or(ReleaseError::SerialsExhausted)
}

/// What a document says of itself, whoever signed it.
fn serial_of(octets: &[u8], limits: &Limits) -> Option<u64> {
    let scanned = stopgap_feed::scan::scan(octets, limits).ok()?;
    scanned.parse().ok()?.root_element().attribute("serial")?.parse().ok()
}
