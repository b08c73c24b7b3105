//! Trust state: what was last trusted of each feed, and how a document becomes the current one.
//!
//! A document that is refused changes nothing: the last good one goes on counting, and what is
//! applied stays applied. Only a cycle that applies moves the state; a plan never does.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;
use stopgap_core::policy::FeedPolicy;
use stopgap_core::report::FeedReport;
use stopgap_drivers::Host;
use stopgap_feed::document::ActionType;
use stopgap_feed::freshness::LastSeen;
use stopgap_feed::trust::{Trust, TrustFile};
use stopgap_feed::{FeedName, Refusal, VerifiedFeed, verify};

use crate::config::FeedConfig;
use crate::fetch::Fetched;
use crate::home::{Home, HomeError, MAX_BYTES};

/// `feeds/NAME.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Serial and content of the last document that was trusted; absent in Microsoft's grammar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSeen>,
    /// SHA-256 of `feeds/NAME.xml` as it came, in hex.
    pub document_sha256: String,
    /// The validator of the answer that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was last verified.
    pub trusted_at: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// `feeds/NAME.trouble.json`: why the last attempt brought nothing, for the time until the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trouble {
    at: Timestamp,
    code: String,
    message: String,
}

fn trouble_file(name: &FeedName) -> String {
    format!("feeds/{name}.trouble.json")
}

/// A feed in one cycle.
#[derive(Debug)]
pub struct CurrentFeed {
    /// Its name.
    pub name: FeedName,
    /// The document that counts, if any can be trusted now.
    pub verified: Option<VerifiedFeed>,
    /// What it may do here.
    pub policy: FeedPolicy,
    /// For status.
    pub report: FeedReport,
    /// What to write once the cycle applies: a newly trusted document.
    pub news: Option<(Seen, Vec<u8>)>,
    /// Somebody was asked in this cycle: its trouble is news.
    pub asked: bool,
}

/// The last trusted document and its state.
pub fn load(home: &Home, host: &dyn Host, name: &FeedName) -> Result<Option<Seen>, HomeError> {
    home.load(host, &format!("feeds/{name}.json"))
}

/// The validator for the next request: only while the document that it stands for is still here,
/// since "unchanged" would be no answer without it.
pub fn validator(home: &Home, host: &dyn Host, name: &FeedName) -> Option<String> {
    let seen = load(home, host, name).ok().flatten()?;
    cached(home, host, name, &seen).and(seen.etag)
}

/// Writes what [`judge`] found to be news. The document goes first: a state without its document
/// would only be fetched again, while the reverse would forget a serial.
pub fn store(home: &Home, host: &dyn Host, feed: &CurrentFeed, now: Timestamp) -> Result<(), HomeError> {
    if let Some((seen, bytes)) = &feed.news {
        home.write(host, &format!("feeds/{}.xml", feed.name), bytes)?;
        home.save(host, &format!("feeds/{}.json", feed.name), seen)?;
    }
    if !feed.asked {
        return Ok(());
    }
    let trouble = match (&feed.report.error, &feed.report.message) {
        (Some(code), Some(message)) => {
            Some(Trouble { at: now, code: code.clone(), message: message.clone() })
        }
        _ => None,
    };
    let file = trouble_file(&feed.name);
    let before: Option<Option<Trouble>> = home.load(host, &file).unwrap_or_default();
    let same = |before: &Option<Trouble>| {
        before.as_ref().map(|t| (&t.code, &t.message)) == trouble.as_ref().map(|t| (&t.code, &t.message))
    };
    if before.as_ref().map_or(trouble.is_none(), same) { Ok(()) } else { home.save(host, &file, &trouble) }
}

/// Judges what was fetched, and falls back on the last good document.
pub fn judge(
    home: &Home,
    host: &dyn Host,
    config: &FeedConfig,
    fetched: Fetched,
    now: Timestamp,
) -> CurrentFeed {
    let mut feed = CurrentFeed {
        name: config.name.clone(),
        verified: None,
        policy: FeedPolicy { allow: Vec::new(), unknown_applies: config.unknown_applies },
        report: FeedReport {
            name: config.name.clone(),
            serial: None,
            trusted_at: None,
            expires: None,
            error: None,
            message: None,
        },
        news: None,
        asked: fetched != Fetched::Skipped,
    };
    let trust = match load_trust(host, config) {
        Ok(trust) => trust,
        // Nothing new is trusted. What was trusted before may be repaired and taken off as ever.
        Err(message) => {
            feed.policy.allow = WHEN_TRUSTED.to_vec();
            return feed.failed("trust-file", message);
        }
    };
    feed.policy.allow = trust.allow.clone();
    let seen = match load(home, host, &config.name) {
        Ok(seen) => seen,
        // What was applied stays; without its memory the feed could be rolled back.
        Err(error) => return feed.failed("trust-state", error.to_string()),
    };
    if let Some(seen) = &seen {
        feed.report.serial = seen.last.as_ref().map(|last| last.serial);
        feed.report.trusted_at = Some(seen.trusted_at);
        feed.report.expires = seen.expires;
    }
    let last = seen.as_ref().and_then(|seen| seen.last.clone());
    let revocation = trust.local_revocation();
    let check = |bytes: &[u8]| verify(&trust, bytes, last.as_ref(), &revocation, now);
    match fetched {
        Fetched::Document { bytes, etag } => match check(&bytes) {
            Ok(verified) => {
                feed.policy.allow = trust.allowed_in(&verified);
                return feed.trusted(verified, seen.as_ref(), bytes, etag, now);
            }
            Err(refusal) => feed = feed.refused(&refusal),
        },
        Fetched::Unchanged => {}
        Fetched::Failed(message) => feed = feed.failed("unreachable", message),
        Fetched::Skipped => {
            if let Ok(Some(Some(trouble))) = home.load::<Option<Trouble>>(host, &trouble_file(&config.name)) {
                let message = format!("{} (since {})", trouble.message, trouble.at);
                feed = feed.failed(&trouble.code, message);
            }
        }
    }
    let Some(seen) = seen else { return feed };
    match cached(home, host, &config.name, &seen) {
        Some(bytes) => match check(&bytes) {
            Ok(verified) => {
                feed.policy.allow = trust.allowed_in(&verified);
                feed.verified = Some(verified);
            }
            Err(refusal) if feed.report.error.is_none() => feed = feed.refused(&refusal),
            // That the last good document has ended too matters more than why no newer one came.
            Err(refusal) => {
                let newer = feed.report.message.take().unwrap_or_default();
                feed = feed.failed(refusal.code(), format!("{refusal}; and no newer one came: {newer}"));
            }
        },
        None if feed.report.error.is_none() => {
            feed = feed.failed("cache", "the last trusted document is not in the data folder".into());
        }
        None => {}
    }
    feed
}

/// What is in the ledger was allowed when it was put on.
const WHEN_TRUSTED: [ActionType; 4] =
    [ActionType::DoNothing, ActionType::UrlRewrite, ActionType::Service, ActionType::AppPool];

/// The cached document, if it is the one that was trusted.
fn cached(home: &Home, host: &dyn Host, name: &FeedName, seen: &Seen) -> Option<Vec<u8>> {
    let bytes = home.read(host, &format!("feeds/{name}.xml")).ok().flatten()?;
    (sha256_hex(&bytes) == seen.document_sha256).then_some(bytes)
}

/// Reads a feed's trust file and what it names; the error is a sentence.
pub fn load_trust(host: &dyn Host, config: &FeedConfig) -> Result<Trust, String> {
    let path = &config.trust;
    let at = |message: String| format!("{}: {message}", path.display());
    let bytes = host.read(path, MAX_BYTES).map_err(|error| at(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| at(error.to_string()))?;
    let file: TrustFile = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let trust = file
        .load_with(|named| host.read(&folder.join(named), MAX_BYTES))
        .map_err(|error| at(error.to_string()))?;
    Ok(trust.for_feed(config.name.clone()))
}

impl CurrentFeed {
    fn failed(mut self, code: &str, message: String) -> CurrentFeed {
        self.report.error = Some(code.to_owned());
        self.report.message = Some(message);
        self
    }

    fn refused(self, refusal: &Refusal) -> CurrentFeed {
        self.failed(refusal.code(), refusal.to_string())
    }

    fn trusted(
        mut self,
        verified: VerifiedFeed,
        seen: Option<&Seen>,
        bytes: Vec<u8>,
        etag: Option<String>,
        now: Timestamp,
    ) -> CurrentFeed {
        let news = Seen {
            last: verified.last_seen(),
            document_sha256: sha256_hex(&bytes),
            etag,
            trusted_at: now,
            expires: verified.document().expires,
        };
        self.report.serial = verified.document().serial;
        self.report.trusted_at = Some(now);
        self.report.expires = news.expires;
        self.verified = Some(verified);
        let same = |seen: &&Seen| seen.document_sha256 == news.document_sha256 && seen.etag == news.etag;
        if seen.filter(same).is_none() {
            self.news = Some((news, bytes));
        }
        self
    }
}
