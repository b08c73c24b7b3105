//! The files behind the server: read when they change, taken over when they are whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::HeaderValue;
use jiff::Timestamp;
use stopgap_feed::cosignature::{Cosignature, MAX_COSIGNATURE_BYTES, MAX_COSIGNATURES, beside};
use stopgap_feed::dsig;
use stopgap_feed::limits::Limits;
use tokio::io::AsyncReadExt as _;
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::{AnyRef, Decode as _};
use x509_cert::time::Time;

use super::offer::{Document, FEED_PATH, Offer, Offers};
use crate::events::Announcement;
use crate::watch::Wake;

/// Octets of one revocation list here: a publisher's own authorities revoke few certificates.
const LIST_MAX: usize = 1 << 20;
/// How a list's name ends.
const LIST: &str = ".crl";
/// Lists that are offered: one for each authority that the publisher ever had.
const LISTS_MAX: usize = 64;

/// The feed's file, and what stands beside it.
pub(super) struct Source {
    file: PathBuf,
    offers: Arc<Offers>,
    /// What the last look saw, whether it was taken over or not.
    seen: Option<Seen>,
    /// The same of each file beside it, with what was read of it.
    beside: BTreeMap<String, (Seen, Option<Arc<Document>>)>,
}

/// What a poll compares. File times have the resolution of the system's timer, so a file that was
/// replaced at once by another of the same length differs in its inode only.
#[derive(PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Seen {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }
}

/// Why a file was not taken over.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Scan(#[from] stopgap_feed::scan::ScanError),
    #[error("expected one EOCS element whose last child is a Signature")]
    NotSigned,
}

impl Source {
    pub(super) fn new(file: PathBuf, offers: Arc<Offers>) -> Self {
        Self { file, offers, seen: None, beside: BTreeMap::new() }
    }

    pub(super) fn offers(&self) -> &Arc<Offers> {
        &self.offers
    }

    /// When the release that is served ends.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.offers.now.load().feed.as_ref().and_then(|feed| feed.expires)
    }

    /// The revocation list that is due first: its path, from when on it should have been made again, its end.
    pub(super) fn list_due(&self) -> Option<(String, Timestamp, Timestamp)> {
        let now = self.offers.now.load();
        let lists = now.beside.iter().filter(|(path, _)| path.ends_with(LIST));
        let due = lists.filter_map(|(path, list)| Some((path.clone(), list.due?, list.expires?)));
        due.min_by_key(|(_, due, _)| *due)
    }

    /// Takes over what changed and is whole.
    pub(super) async fn look(&mut self, wake: Wake) {
        let feed = self.feed(wake).await;
        let beside = self.neighbors().await;
        let now = self.offers.now.load_full();
        let feed = feed.or_else(|| now.feed.clone());
        let mut offered = BTreeMap::new();
        for (path, document) in beside {
            let is_of_it = document.release.is_none()
                || feed.as_ref().is_some_and(|feed| feed.release == document.release);
            if is_of_it {
                offered.insert(path, document);
            }
        }
        self.publish(&now, Offer { feed, beside: offered });
    }

    fn publish(&self, now: &Offer, next: Offer) {
        let digest = |document: &Arc<Document>| document.sha256.clone();
        let of = |offer: &Offer| {
            (offer.feed.as_ref().map(digest), offer.beside.values().map(digest).collect::<Vec<_>>())
        };
        if of(now) == of(&next) {
            return;
        }
        let Some(feed) = next.feed.clone() else {
            return self.offers.now.store(Arc::new(next));
        };
        let (name, serial) = feed.release.clone().unzip();
        let (_, beside) = of(&next);
        let announcement = Announcement { feed: name, serial, sha256: feed.sha256.clone(), beside };
        tracing::info!(serial, sha256 = feed.sha256, beside = announcement.beside.len(), "serving");
        // The document first: who fetches because of the event must find it.
        self.offers.now.store(Arc::new(next));
        self.offers.events.announce(announcement);
    }

    /// The feed, where it changed and is a signed feed.
    async fn feed(&mut self, wake: Wake) -> Option<Arc<Document>> {
        let file = self.file.display().to_string();
        let known = self.seen.as_ref().filter(|_| wake == Wake::Poll);
        match read(&self.file, known, Limits::default().bytes).await {
            Ok(None) => None,
            Ok(Some((seen, octets))) => {
                self.seen = Some(seen);
                match inspect(octets).await {
                    Ok(feed) => Some(Arc::new(feed)),
                    Err(error) => {
                        tracing::warn!(file, %error, "not served; the feed before it stays");
                        None
                    }
                }
            }
            // Absent at the start, or between the two steps of somebody's replacement.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.seen = None;
                None
            }
            Err(error) => {
                tracing::warn!(file, %error, "cannot be read; the feed before it stays");
                None
            }
        }
    }

    /// What stands beside the feed and can be offered, by its path.
    async fn neighbors(&mut self) -> BTreeMap<String, Arc<Document>> {
        let mut found = BTreeMap::new();
        for (path, file, limit) in self.names().await {
            let before = self.beside.remove(&path);
            let known = before.as_ref().map(|(seen, _)| seen);
            let now = match read(&file, known, limit).await {
                Ok(None) => before,
                Ok(Some((seen, octets))) => Some((seen, part(&path, octets).map(Arc::new))),
                // One that cannot be read now may be later.
                Err(_) => None,
            };
            if let Some(now) = now {
                found.insert(path, now);
            }
        }
        self.beside = found;
        let whole = |(path, (_, document)): (&String, &(Seen, Option<Arc<Document>>))| {
            document.clone().map(|document| (path.clone(), document))
        };
        self.beside.iter().filter_map(whole).collect()
    }

    /// The files that may stand beside the feed: where they are offered, where they are, how large they may be.
    async fn names(&self) -> Vec<(String, PathBuf, usize)> {
        let mut names = Vec::new();
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        for number in 1..=MAX_COSIGNATURES {
            let file = self.file.with_file_name(beside(&name, number));
            names.push((beside(FEED_PATH, number), file, MAX_COSIGNATURE_BYTES));
        }
        let Ok(mut entries) = tokio::fs::read_dir(self.file.with_file_name("crl")).await else {
            return names;
        };
        let mut lists = 0;
        while let Ok(Some(entry)) = entries.next_entry().await {
            let name = entry.file_name().to_string_lossy().into_owned();
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            if name.ends_with(LIST) && plain && lists < LISTS_MAX {
                lists += 1;
                names.push((format!("/crl/{name}"), entry.path(), LIST_MAX));
            }
        }
        names
    }
}

/// A file's octets; `None` where it is as it was when `known` was seen.
async fn read(path: &Path, known: Option<&Seen>, limit: usize) -> io::Result<Option<(Seen, Vec<u8>)>> {
    let file = tokio::fs::File::open(path).await?;
    let seen = Seen::of(&file.metadata().await?);
    if known == Some(&seen) {
        return Ok(None);
    }
    // One octet more than allowed is enough to refuse it.
    let mut octets = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut octets).await?;
    Ok(Some((seen, octets)))
}

/// Digest and scan of a large feed take tens of milliseconds, which connections must not wait for.
async fn inspect(octets: Vec<u8>) -> Result<Document, Unfit> {
    let work = move || {
        let (release, expires) = head(&octets)?;
        document(octets, release, expires).ok_or(Unfit::NotSigned)
    };
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Reads name, serial and end leniently: agents take none of them from here.
#[allow(clippy::type_complexity, reason = "two things that may be missing")]
fn head(octets: &[u8]) -> Result<(Option<(String, u64)>, Option<Timestamp>), Unfit> {
    let scanned = stopgap_feed::scan::scan(octets, &Limits::default())?;
    let tree = scanned.parse()?;
    let root = tree.root_element();
    let signed = root.has_tag_name("EOCS")
        && root.last_element_child().is_some_and(|last| last.has_tag_name((dsig::NAMESPACE, "Signature")));
    if !signed {
        return Err(Unfit::NotSigned);
    }
    let serial = root.attribute("serial").and_then(|serial| serial.parse().ok());
    let release = root.attribute("feed").map(ToOwned::to_owned).zip(serial);
    Ok((release, root.attribute("expires").and_then(|expires| expires.parse().ok())))
}

/// A co-signature or a list, where it is one.
fn part(path: &str, octets: Vec<u8>) -> Option<Document> {
    if path.ends_with(LIST) {
        // DER: a sequence, as long as it says. What is half written is not.
        let whole = octets.len() <= LIST_MAX && AnyRef::try_from(octets.as_slice()).is_ok();
        let times = validity(&octets);
        let list = whole.then(|| document(octets, None, None)).flatten()?;
        let due = times.map(|(begins, ends)| last_quarter(begins, ends));
        return Some(Document { expires: times.map(|(_, ends)| ends), due, ..list });
    }
    let says = Cosignature::from_unsigned(&octets, &Limits::default()).ok()?;
    let release = (says.feed.as_str().to_owned(), says.serial?);
    document(octets, Some(release), None)
}

/// From when until when a list holds.
fn validity(list: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let list = CertificateList::<Rfc5280>::from_der(list).ok()?.tbs_cert_list;
    let time =
        |time: Time| Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok();
    Some((time(list.this_update)?, time(list.next_update?)?))
}

/// `feed renew` makes a list again in the second half of its time; in the last quarter somebody has to be told that
/// nothing did. It leaves weeks to fetch a key that is far away.
fn last_quarter(begins: Timestamp, ends: Timestamp) -> Timestamp {
    let quarter = ends.duration_since(begins).checked_div(4).unwrap_or_default();
    ends.checked_sub(quarter).unwrap_or(ends)
}

fn document(octets: Vec<u8>, release: Option<(String, u64)>, expires: Option<Timestamp>) -> Option<Document> {
    let sha256 = crate::sha256_hex(&octets);
    let etag = HeaderValue::try_from(format!("\"{sha256}\"")).ok()?;
    Some(Document { octets: octets.into(), etag, sha256, release, expires, due: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_signed_feed_is_announced() {
        let signature = format!("<Signature xmlns=\"{}\"/>", dsig::NAMESPACE);
        let signed = format!("<EOCS feed=\"example\" serial=\"3\"><Config id=\"A\"/>{signature}</EOCS>");
        assert_eq!(head(signed.as_bytes()).unwrap().0, Some(("example".to_owned(), 3)));
        // Microsoft's grammar.
        let plain = format!("<EOCS version=\"1.0.4\">{signature}</EOCS>");
        assert_eq!(head(plain.as_bytes()).unwrap(), (None, None));

        let unsigned = signed.replace(&signature, "");
        let misplaced = format!("<EOCS serial=\"3\">{signature}<Config id=\"A\"/></EOCS>");
        let foreign = signed.replace("EOCS", "feed");
        for unfit in [&signed[..60], &unsigned, &misplaced, &foreign, ""] {
            assert!(head(unfit.as_bytes()).is_err(), "{unfit}");
        }
    }

    #[test]
    fn half_a_list_and_half_a_co_signature_are_nothing() {
        let list = vec![0x30, 0x03, 0x02, 0x01, 0x05];
        assert!(part("/crl/a.crl", list.clone()).is_some());
        assert!(part("/crl/a.crl", list[..4].to_vec()).is_none());
        let said = format!("<Cosignature feed=\"example\" serial=\"3\" sha256=\"{}\"/>", "0".repeat(64));
        let path = "/feed.xml.cosignature-1.xml";
        assert_eq!(part(path, said.clone().into_bytes()).unwrap().release, Some(("example".to_owned(), 3)));
        assert!(part(path, said.as_bytes()[..60].to_vec()).is_none());
    }
}
