//! Trust state: what was last trusted of each feed, and how a document becomes the current one.
//!
//! A document that is refused changes nothing: the last good one goes on counting, and what is
//! applied stays applied. Only a cycle that applies moves the state; a plan never does.

mod lists;
mod standing;

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
use stopgap_feed::{FeedName, Refusal, VerifiedFeed};

use crate::config::FeedConfig;
use crate::fetch::{Delivery, Fetched, Validators};
use crate::home::{Home, HomeError, MAX_BYTES};
pub use lists::{List, may_replace, merged};
pub use standing::{Kept, Shown, Standing};

/// `feeds/NAME.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Serial and content of the last document that was trusted; absent in Microsoft's grammar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSeen>,
    /// SHA-256 of `feeds/NAME.xml` as it came, in hex.
    pub document_sha256: String,
    /// What the answer that brought it said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validators: Option<Validators>,
    /// As an earlier version kept it. It is not known which address said so: it is not used.
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "its name must be known: others are refused")]
    etag: Option<String>,
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
    /// What to write once the cycle applies: a newly trusted document with its co-signatures.
    pub news: Option<(Seen, Kept)>,
    /// Revocation lists to write, whatever became of the document.
    pub new_lists: Option<Vec<List>>,
    /// Somebody was asked in this cycle: its trouble is news.
    pub asked: bool,
}

/// The last trusted document and its state.
pub fn load(home: &Home, host: &dyn Host, name: &FeedName) -> Result<Option<Seen>, HomeError> {
    home.load(host, &format!("feeds/{name}.json"))
}

/// Writes what [`judge`] found to be news. The document goes first: a state without its document
/// would only be fetched again, while the reverse would forget a serial.
pub fn store(home: &Home, host: &dyn Host, feed: &CurrentFeed, now: Timestamp) -> Result<(), HomeError> {
    if let Some(new) = &feed.new_lists {
        lists::store(home, host, &feed.name, new)?;
    }
    if let Some((seen, kept)) = &feed.news {
        standing::store_cosignatures(home, host, &feed.name, kept)?;
        home.write(host, &format!("feeds/{}.xml", feed.name), &kept.bytes)?;
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
    delivery: impl Into<Delivery>,
    now: Timestamp,
) -> CurrentFeed {
    let delivery = delivery.into();
    let mut feed = CurrentFeed {
        name: config.name.clone(),
        verified: None,
        policy: FeedPolicy {
            allow: Vec::new(),
            unknown_applies: config.unknown_applies,
            approval: config.approval,
            observe: config.observe,
        },
        report: FeedReport {
            name: config.name.clone(),
            serial: None,
            trusted_at: None,
            expires: None,
            error: None,
            message: None,
        },
        news: None,
        new_lists: None,
        asked: delivery.fetched != Fetched::Skipped,
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
    let standing = match Standing::load(home, host, &config.name, trust) {
        Ok(standing) => standing,
        // What was applied stays; without its memory the feed could be rolled back.
        Err(error) => return feed.failed("trust-state", error.to_string()),
    };
    if let Some(seen) = &standing.seen {
        feed.report.serial = seen.last.as_ref().map(|last| last.serial);
        feed.report.trusted_at = Some(seen.trusted_at);
        feed.report.expires = seen.expires;
    }
    let lists = merged(&standing.lists, &delivery.lists);
    if lists != standing.lists {
        feed.new_lists = Some(lists.clone());
    }
    if let Some(shown) = standing.presented(&delivery) {
        match standing.judge(&shown.as_presented(), &lists, now) {
            Ok(verified) => {
                feed.policy.allow = standing.trust.allowed_in(&verified);
                let validators = match &delivery.fetched {
                    Fetched::Document { validators, .. } => Some(validators.clone()),
                    _ => standing.validators().cloned(),
                };
                return feed.trusted(verified, &standing, shown.kept(), validators, now);
            }
            Err(refusal) => feed = feed.refused(&refusal, &delivery.notes),
        }
    } else {
        match delivery.fetched {
            Fetched::Failed(failure) => feed = feed.failed(failure.fault.code(), failure.message),
            Fetched::Skipped => {
                let trouble = home.load::<Option<Trouble>>(host, &trouble_file(&config.name));
                if let Ok(Some(Some(trouble))) = trouble {
                    let message = format!("{} (since {})", trouble.message, trouble.at);
                    feed = feed.failed(&trouble.code, message);
                }
            }
            Fetched::Document { .. } | Fetched::Unchanged => {}
        }
    }
    if standing.seen.is_none() {
        return feed;
    }
    match &standing.kept {
        Some(kept) => match standing.judge(&kept.as_presented(), &lists, now) {
            Ok(verified) => {
                feed.policy.allow = standing.trust.allowed_in(&verified);
                feed.verified = Some(verified);
            }
            Err(refusal) if feed.report.error.is_none() => feed = feed.refused(&refusal, &[]),
            // Told once where it is the same: the server said that nothing had changed.
            Err(refusal) if feed.report.error.as_deref() == Some(refusal.code()) => {}
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

    /// `notes`: what else was asked, and was no better.
    fn refused(self, refusal: &Refusal, notes: &[String]) -> CurrentFeed {
        let also: String = notes.iter().map(|note| format!("; also asked: {note}")).collect();
        self.failed(refusal.code(), format!("{refusal}{also}"))
    }

    fn trusted(
        mut self,
        verified: VerifiedFeed,
        standing: &Standing,
        kept: Kept,
        validators: Option<Validators>,
        now: Timestamp,
    ) -> CurrentFeed {
        let news = Seen {
            last: verified.last_seen(),
            document_sha256: sha256_hex(&kept.bytes),
            validators,
            etag: None,
            trusted_at: now,
            expires: verified.document().expires,
        };
        self.report.serial = verified.document().serial;
        self.report.trusted_at = Some(now);
        self.report.expires = news.expires;
        self.verified = Some(verified);
        let same =
            |seen: &&Seen| seen.document_sha256 == news.document_sha256 && seen.validators == news.validators;
        let is_known = standing.seen.as_ref().filter(same).is_some();
        if !is_known || standing.kept.as_ref() != Some(&kept) {
            self.news = Some((news, kept));
        }
        self
    }
}
