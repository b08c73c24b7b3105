//! Is this the newest document, of the right feed, and of today? A signature answers none of these:
//! an old document is as well signed as a new one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::id::FeedName;
use crate::refusal::Refusal;
use crate::trust::{FreshnessMode, Trust};

/// Before this no build of this program existed: a clock that says less is not set. (2020-01-01.)
pub(crate) const CLOCK_FLOOR: Timestamp = Timestamp::constant(1_577_836_800, 0);

/// The newest document that was accepted from a feed, as it is remembered on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// Its serial.
    pub serial: u64,
    /// SHA-256 of its canonical octets, in lower-case hexadecimal.
    pub sha256: String,
    /// When it was issued; `None` in a memory that an older version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Timestamp>,
}

/// Checks a signed document against the clock and the memory. `sha256` is of its canonical octets.
/// The order is the order of harm: a document of another feed says nothing about this one, a
/// rolled-back one is an attack, an expired one may be a quiet publisher.
pub fn check(
    document: &Document,
    sha256: &str,
    trust: &Trust,
    last_seen: Option<&LastSeen>,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(claims) = Claims::of(document) else {
        // A feed that once had serials does not go back to a grammar without, and one that says a part of
        // it is not one of that grammar.
        let says_none = document.feed.is_none()
            && document.serial.is_none()
            && document.issued.is_none()
            && document.expires.is_none();
        let may_lack_it = document.major_version() < 2 && says_none && last_seen.is_none();
        return if trust.freshness == FreshnessMode::Absent && may_lack_it {
            Ok(())
        } else {
            Err(Refusal::FreshnessMissing { version: document.version.clone() })
        };
    };
    if let Some(expected) = trust.feed.as_ref().filter(|expected| *expected != claims.feed) {
        return Err(Refusal::WrongFeed { expected: expected.clone(), found: claims.feed.clone() });
    }
    if let Some(last) = last_seen {
        if claims.serial < last.serial {
            return Err(Refusal::Rollback { last_seen: last.serial, found: claims.serial });
        }
        if claims.serial == last.serial && sha256 != last.sha256 {
            return Err(Refusal::SerialReused {
                serial: claims.serial,
                expected: last.sha256.clone(),
                found: sha256.to_owned(),
            });
        }
    }
    // Before the document's own dates: a clock that ran backwards would make an expired document good.
    let tolerance = SignedDuration::from_secs(i64::from(trust.clock_tolerance_seconds));
    if let Some(last_issued) = last_seen.and_then(|last| last.issued)
        && now >= CLOCK_FLOOR
        && last_issued.duration_since(now) > tolerance
    {
        return Err(Refusal::ClockSetBack { last_issued, now });
    }
    if claims.issued.duration_since(now) > tolerance {
        return Err(Refusal::NotYetIssued { issued: claims.issued, now });
    }
    if claims.expires <= now {
        return Err(Refusal::Expired { expires: claims.expires, now });
    }
    Ok(())
}

/// What identifies a release, for whoever signs beside the publisher.
pub(crate) struct Claimed<'a> {
    pub(crate) feed: Option<&'a FeedName>,
    pub(crate) serial: Option<u64>,
    pub(crate) sha256: &'a str,
}

struct Claims<'a> {
    feed: &'a FeedName,
    serial: u64,
    issued: Timestamp,
    expires: Timestamp,
}

impl<'a> Claims<'a> {
    /// `None` where one of them is missing: half of them protect from nothing.
    fn of(document: &'a Document) -> Option<Self> {
        Some(Self {
            feed: document.feed.as_ref()?,
            serial: document.serial?,
            issued: document.issued?,
            expires: document.expires?,
        })
    }
}
