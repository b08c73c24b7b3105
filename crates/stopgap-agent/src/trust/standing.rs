//! What this server knows of one feed when a document of it comes: whom it believes, what it has seen
//! and what it keeps.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;
use stopgap_drivers::Host;
use stopgap_feed::cosignature::MAX_COSIGNATURES;
use stopgap_feed::{
    FeedName, Presented, Refusal, Revocation, RevocationMode, Trust, VerifiedFeed, distribution_points,
    verify_presented,
};

use super::{List, Seen, lists};
use crate::fetch::{Delivery, Fetched, Validators};
use crate::home::{Home, HomeError};

/// One feed, as this server knows it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Whom it is believed from.
    pub trust: Trust,
    /// What was last trusted.
    pub seen: Option<Seen>,
    /// That document, where it is still here.
    pub kept: Option<Kept>,
    /// Revocation lists that are kept, beside the local ones of the trust file.
    pub lists: Vec<List>,
}

/// A document and its co-signatures, as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The document as it came.
    pub bytes: Vec<u8>,
    /// What stood beside it.
    pub cosignatures: Vec<Vec<u8>>,
}

impl Kept {
    /// For [`verify_presented`].
    pub fn as_presented(&self) -> Presented<'_> {
        Presented { feed: &self.bytes, cosignatures: &self.cosignatures }
    }
}

/// A document of a delivery with all co-signatures that are known for it.
#[derive(Debug, Clone)]
pub struct Shown<'a> {
    bytes: &'a [u8],
    cosignatures: Vec<Vec<u8>>,
}

impl Shown<'_> {
    /// For [`verify_presented`].
    pub fn as_presented(&self) -> Presented<'_> {
        Presented { feed: self.bytes, cosignatures: &self.cosignatures }
    }

    /// A copy, to be kept.
    pub fn kept(&self) -> Kept {
        Kept { bytes: self.bytes.to_vec(), cosignatures: self.cosignatures.clone() }
    }
}

/// `feeds/NAME.cosignatures.json`: one file, so that they are those of one document or of none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cosignatures {
    /// Of the document that they stood beside.
    document_sha256: String,
    documents: Vec<String>,
}

fn cosignatures_file(name: &FeedName) -> String {
    format!("feeds/{name}.cosignatures.json")
}

impl Standing {
    /// A feed of which nothing was seen yet.
    pub fn new(trust: Trust) -> Standing {
        Standing { trust, seen: None, kept: None, lists: Vec::new() }
    }

    /// What the data folder says. A file that is damaged is an error: without its memory a feed could be
    /// rolled back, or a revocation forgotten.
    pub fn load(home: &Home, host: &dyn Host, name: &FeedName, trust: Trust) -> Result<Standing, HomeError> {
        let seen = super::load(home, host, name)?;
        let kept = match &seen {
            Some(seen) => kept(home, host, name, seen)?,
            None => None,
        };
        let lists = lists::load(home, host, name)?;
        Ok(Standing { trust, seen, kept, lists })
    }

    /// For the next request: only while the document that they stand for is still here, since
    /// "unchanged" would be no answer without it.
    pub fn validators(&self) -> Option<&Validators> {
        self.kept.as_ref().and(self.seen.as_ref()?.validators.as_ref())
    }

    /// The document that a delivery is about, if it is about one. For one that is unchanged, the
    /// co-signatures that are kept count beside those that came: nobody takes one away by leaving it out.
    pub fn presented<'a>(&'a self, delivery: &'a Delivery) -> Option<Shown<'a>> {
        match &delivery.fetched {
            Fetched::Document { bytes, .. } => {
                Some(Shown { bytes, cosignatures: together(&[], &delivery.cosignatures) })
            }
            Fetched::Unchanged => self.kept.as_ref().map(|kept| Shown {
                bytes: &kept.bytes,
                cosignatures: together(&kept.cosignatures, &delivery.cosignatures),
            }),
            Fetched::Failed(_) | Fetched::Skipped => None,
        }
    }

    /// Judges a document with these lists beside the trust file's own.
    pub fn judge(
        &self,
        presented: &Presented<'_>,
        lists: &[List],
        now: Timestamp,
    ) -> Result<VerifiedFeed, Refusal> {
        let mut revocation = self.trust.local_revocation();
        revocation.crls.extend(lists.iter().filter_map(List::der));
        self.judge_with(presented, &revocation, now)
    }

    /// Where the lists for this document's signers are said to be. Whether there are enough of them is
    /// judged with the lists: without, a missing co-signature would be told as a missing list.
    pub(crate) fn points(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Vec<String>, Refusal> {
        let trust = Trust { signatures: 1, ..self.trust.clone() };
        distribution_points(&trust, presented, now)
    }

    /// What one list alone says of a document, where revocation must be known.
    pub(super) fn judge_by(
        &self,
        presented: &Presented<'_>,
        list: &List,
        now: Timestamp,
    ) -> Result<VerifiedFeed, Refusal> {
        let crls = list.der().into_iter().collect();
        self.judge_with(presented, &Revocation { mode: RevocationMode::Require, crls }, now)
    }

    fn judge_with(
        &self,
        presented: &Presented<'_>,
        revocation: &Revocation,
        now: Timestamp,
    ) -> Result<VerifiedFeed, Refusal> {
        let last = self.seen.as_ref().and_then(|seen| seen.last.as_ref());
        verify_presented(&self.trust, presented, last, revocation, now)
    }
}

/// Each once, the first ones first, as many as are looked at.
fn together(first: &[Vec<u8>], then: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for one in first.iter().chain(then) {
        if all.len() < MAX_COSIGNATURES && !all.contains(one) {
            all.push(one.clone());
        }
    }
    all
}

/// The document that was trusted, if it is still here as it was.
fn kept(home: &Home, host: &dyn Host, name: &FeedName, seen: &Seen) -> Result<Option<Kept>, HomeError> {
    let bytes = home.read(host, &format!("feeds/{name}.xml")).ok().flatten();
    let Some(bytes) = bytes.filter(|bytes| sha256_hex(bytes) == seen.document_sha256) else {
        return Ok(None);
    };
    let beside: Option<Cosignatures> = home.load(host, &cosignatures_file(name))?;
    // Of another document: the agent was interrupted between the two files. They are fetched again.
    let beside = beside.filter(|beside| beside.document_sha256 == seen.document_sha256);
    let cosignatures = beside.map(|beside| beside.documents).unwrap_or_default();
    Ok(Some(Kept { bytes, cosignatures: cosignatures.into_iter().map(String::into_bytes).collect() }))
}

/// Before the document, so that it is never without those that it had.
pub(super) fn store_cosignatures(
    home: &Home,
    host: &dyn Host,
    name: &FeedName,
    kept: &Kept,
) -> Result<(), HomeError> {
    let file = cosignatures_file(name);
    // A feed that has none gets no file.
    if kept.cosignatures.is_empty() && home.read(host, &file)?.is_none() {
        return Ok(());
    }
    // What is no UTF-8 is no co-signature either.
    let documents = kept.cosignatures.iter().filter_map(|one| String::from_utf8(one.clone()).ok()).collect();
    home.save(host, &file, &Cosignatures { document_sha256: sha256_hex(&kept.bytes), documents })
}
