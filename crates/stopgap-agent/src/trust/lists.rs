//! Revocation lists that were fetched, and how they are kept: `crls/NAME.json` says what each is, and
//! `crls/NAME.SHA256.crl` are its octets: a file never changes, so that until the index names other files
//! a crash or a full disk leaves everything as it was.
//!
//! Each is judged where a document is judged, on its own. Here is only what is kept, how long, and that
//! nobody on the way makes this server forget a revocation.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;
use stopgap_drivers::Host;
use stopgap_drivers::host::remove_if_there;
use stopgap_feed::chain::MAX_CRL_BYTES;
use stopgap_feed::trust::CLOCK_TOLERANCE_SECONDS;
use stopgap_feed::{FeedName, Presented};
use x509_cert::der::{Decode as _, Header, Reader as _, SliceReader, Tag};
use x509_cert::time::Time;

use super::Standing;
use crate::fetch::Validators;
use crate::home::{FOLDER_MODE, Home, HomeError};

/// Lists of one feed that are kept: as many as certificates are asked for, and as many from files.
const MAX_LISTS: usize = 32;
/// Octets of all of them together; a cycle holds a few copies. Two of the largest that are read fit.
const MAX_TOTAL_BYTES: usize = 32 << 20;
/// A list is asked for again after this time. (Within the tenth by which cycles vary.)
const REFRESH: SignedDuration = SignedDuration::from_mins(50);
/// One that does not answer (it ran out, say), or that a new release is judged by, is asked for again after
/// this time.
const REFRESH_UNKNOWN: SignedDuration = SignedDuration::from_mins(1);

/// A revocation list as it came, judged by nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The address or file that it came from.
    pub source: String,
    /// Its octets, DER or PEM.
    pub bytes: Vec<u8>,
    /// What to say of it in the next request.
    pub validators: Validators,
    /// When it was last asked for.
    pub fetched_at: Timestamp,
}

impl List {
    /// A list from this address.
    pub fn new(source: &str, bytes: Vec<u8>, validators: Validators, fetched_at: Timestamp) -> List {
        List { source: source.to_owned(), bytes, validators, fetched_at }
    }

    /// For the verifier; `None` where it is PEM and cannot be read.
    pub(super) fn der(&self) -> Option<CertificateRevocationListDer<'static>> {
        if self.bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            return CertificateRevocationListDer::from_pem_slice(&self.bytes).ok();
        }
        Some(CertificateRevocationListDer::from(self.bytes.clone()))
    }

    fn is_file(&self) -> bool {
        self.source.starts_with("file:")
    }

    /// Whether it has the form of a list. What somebody laid into a folder, or linked there, may be any file
    /// of this machine, and what is kept is for everybody to read.
    pub(crate) fn has_its_form(&self) -> bool {
        self.issued().is_some()
    }

    fn issued(&self) -> Option<Timestamp> {
        this_update(&self.der()?)
    }

    /// Whether it need not be asked for again. `matters`: with it revocation is not known, or
    /// something new depends on it.
    pub(crate) fn is_fresh(&self, now: Timestamp, matters: bool) -> bool {
        let age = now.duration_since(self.fetched_at);
        let longest = if matters { REFRESH_UNKNOWN } else { REFRESH };
        // A clock that ran backwards makes nothing fresh.
        age < longest && age >= SignedDuration::ZERO
    }
}

/// `crls/NAME.json`, one for each list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    source: String,
    sha256: String,
    fetched_at: Timestamp,
    #[serde(default)]
    validators: Validators,
}

fn index(name: &FeedName) -> String {
    format!("crls/{name}.json")
}

fn octets(name: &FeedName, sha256: &str) -> String {
    format!("crls/{name}.{sha256}.crl")
}

/// What is kept, with what came in the place of that of the same source, within the bounds.
pub fn merged(kept: &[List], new: &[List]) -> Vec<List> {
    let mut all: Vec<List> = Vec::new();
    let replaced = |list: &&List| new.iter().all(|new| new.source != list.source);
    let mut total = 0;
    // What came last is what is in use. But whoever fills a folder crowds nothing out: a list of a name
    // that is new comes last, unless a certificate names it.
    let crowds = |list: &&List| list.is_file() && kept.iter().all(|kept| kept.source != list.source);
    let first = new.iter().filter(|list| !crowds(list));
    let last = new.iter().filter(crowds);
    for list in first.chain(kept.iter().filter(replaced)).chain(last) {
        total += list.bytes.len();
        if all.len() == MAX_LISTS || total > MAX_TOTAL_BYTES || list.bytes.len() > MAX_CRL_BYTES {
            break;
        }
        all.push(list.clone());
    }
    all.sort_by(|a, b| a.source.cmp(&b.source));
    all
}

/// Whether a list that came may take the place of the one that is kept: not of one by which a signer of
/// this document is revoked, nor of a newer one, and not if it is of the future or shows that it is
/// none of its authority's. Whoever can put another list on the way could else undo a revocation with
/// last week's.
pub fn may_replace(
    standing: &Standing,
    presented: &Presented<'_>,
    old: Option<&List>,
    new: &List,
    now: Timestamp,
) -> bool {
    let Some(old) = old.filter(|old| old.bytes != new.bytes) else { return true };
    let code = |list| standing.judge_by(presented, list, now).err().map(|refusal| refusal.code());
    if code(old) == Some("revoked-certificate") {
        return false;
    }
    let Some(issued) = new.issued() else { return false };
    let is_older = old.issued().is_some_and(|old| issued < old);
    let of_the_future =
        issued.duration_since(now) > SignedDuration::from_secs(CLOCK_TOLERANCE_SECONDS.into());
    let is_false = matches!(code(new), Some("crl-forged" | "crl-unreadable" | "crl-invalid"));
    !(is_older || of_the_future || is_false)
}

/// `thisUpdate` of a list (RFC 5280 section 5.1.2.4), without reading the list itself, which may have a
/// million entries.
fn this_update(der: &[u8]) -> Option<Timestamp> {
    let mut reader = SliceReader::new(der).ok()?;
    // CertificateList, and TBSCertList in it: both are entered, not skipped.
    for _ in 0..2 {
        Header::decode(&mut reader).ok().filter(|header| header.tag() == Tag::Sequence)?;
    }
    if Tag::peek(&reader).ok()? == Tag::Integer {
        skip(&mut reader)?; // version
    }
    skip(&mut reader)?; // signature
    skip(&mut reader)?; // issuer
    let time = Time::decode(&mut reader).ok()?;
    Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
}

fn skip(reader: &mut SliceReader<'_>) -> Option<()> {
    let header = Header::decode(reader).ok()?;
    reader.read_slice(header.length()).ok().map(|_| ())
}

/// What is kept.
pub(super) fn load(home: &Home, host: &dyn Host, name: &FeedName) -> Result<Vec<List>, HomeError> {
    // Read without the lock: a cycle that ended between the index and its files took some away.
    load_once(home, host, name).or_else(|_| load_once(home, host, name))
}

fn load_once(home: &Home, host: &dyn Host, name: &FeedName) -> Result<Vec<List>, HomeError> {
    let entries: Option<Vec<Entry>> = home.load(host, &index(name))?;
    let mut all = Vec::new();
    for entry in entries.unwrap_or_default().into_iter().take(MAX_LISTS) {
        let file = octets(name, &entry.sha256);
        let damaged = || HomeError::Damaged {
            path: home.path(&file),
            message: "it is not the revocation list that was kept".to_owned(),
        };
        let bytes = home.read(host, &file)?.ok_or_else(damaged)?;
        if sha256_hex(&bytes) != entry.sha256 {
            return Err(damaged());
        }
        let Entry { source, validators, fetched_at, .. } = entry;
        all.push(List { source, bytes, validators, fetched_at });
    }
    Ok(all)
}

/// Keeps these and no others.
pub(super) fn store(home: &Home, host: &dyn Host, name: &FeedName, lists: &[List]) -> Result<(), HomeError> {
    let folder = home.path("crls");
    let failed = |what| {
        let path = folder.clone();
        move |source| HomeError::Io { what, path, source }
    };
    host.create_dir_all(&folder, FOLDER_MODE).map_err(failed("create"))?;
    let mut files: BTreeSet<String> = host.list(&folder).map_err(failed("read"))?.into_iter().collect();
    let mut entries = Vec::new();
    for list in lists.iter().take(MAX_LISTS) {
        let sha256 = sha256_hex(&list.bytes);
        let file = octets(name, &sha256);
        // What the index names may be half of a file only if somebody else changed it: it is put right.
        if home.read(host, &file)?.is_none_or(|there| there != list.bytes) {
            home.write(host, &file, &list.bytes)?;
        }
        entries.push(Entry {
            source: list.source.clone(),
            sha256,
            fetched_at: list.fetched_at,
            validators: list.validators.clone(),
        });
    }
    home.save(host, &index(name), &entries)?;
    let prefix = format!("{name}.");
    files.retain(|file| file.starts_with(&prefix) && file.ends_with(".crl"));
    for entry in &entries {
        files.remove(&format!("{name}.{}.crl", entry.sha256));
    }
    for file in files {
        remove_if_there(host, &folder.join(&file)).map_err(failed("remove"))?;
    }
    Ok(())
}
