//! Candidates: every mitigation that the feeds bring, and every one in the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stopgap_feed::Key;
use stopgap_feed::document::{ActionType, Mitigation};

use super::FeedView;
use crate::ledger::Ledger;
use crate::plan::sha256_hex;
use crate::policy::{Approval, FeedPolicy};

/// A mitigation before it is judged.
pub(super) struct Candidate {
    pub key: Key,
    pub mitigation: Mitigation,
    pub digest: String,
    pub trusted_at: Timestamp,
    /// Since when its revision is known: the publisher's date, and not a later one once it is signed again.
    pub since: Timestamp,
    pub withdrawn: Option<String>,
    pub vanished: bool,
    /// This very revision is in force by our hand.
    pub in_ledger: bool,
    pub fixed_since: Option<Timestamp>,
    pub allow: Vec<ActionType>,
    pub unknown_applies: bool,
    pub approval: Option<Approval>,
    pub observe: Option<bool>,
}

/// What the feeds bring, then what only the ledger still holds: a feed that is silent, or no longer
/// configured, takes nothing off.
pub(super) fn candidates(feeds: &[FeedView<'_>], ledger: &Ledger, now: Timestamp) -> Vec<Candidate> {
    let mut all: BTreeMap<Key, Candidate> = BTreeMap::new();
    for feed in feeds {
        let Some((document, trusted_at)) = feed.document else { continue };
        for mitigation in &document.mitigations {
            let key = Key { feed: feed.name.clone(), id: mitigation.id.clone() };
            let entry = ledger.mitigations.get(&key);
            let digest = sha256_hex(mitigation.octets.as_bytes());
            let candidate = Candidate {
                since: ledger.known_since(&key, &digest).unwrap_or_else(|| document.issued.unwrap_or(now)),
                mitigation: mitigation.clone(),
                trusted_at,
                withdrawn: withdrawn(feed, &key),
                vanished: false,
                in_ledger: entry.is_some_and(|entry| entry.digest == digest),
                digest,
                fixed_since: entry.and_then(|entry| entry.fixed_since),
                allow: feed.policy.allow.clone(),
                unknown_applies: feed.policy.unknown_applies,
                approval: feed.policy.approval,
                observe: feed.policy.observe,
                key: key.clone(),
            };
            all.insert(key, candidate);
        }
    }
    for (key, entry) in &ledger.mitigations {
        if all.contains_key(key) {
            continue;
        }
        // Octets that were trusted once and no longer parse belong to an older build; they are
        // reported by the agent and left in force.
        let Ok(mitigation) = entry.mitigation() else { continue };
        let feed = feeds.iter().find(|feed| feed.name == key.feed);
        let policy = feed.map(|feed| feed.policy.clone()).unwrap_or_else(trusted_before);
        let candidate = Candidate {
            key: key.clone(),
            digest: entry.digest.clone(),
            trusted_at: entry.trusted_at,
            since: entry.applied_at,
            withdrawn: feed.and_then(|feed| withdrawn(feed, key)),
            vanished: feed.is_some_and(|feed| feed.document.is_some()),
            in_ledger: true,
            fixed_since: entry.fixed_since,
            allow: policy.allow,
            unknown_applies: policy.unknown_applies,
            approval: policy.approval,
            observe: policy.observe,
            mitigation,
        };
        all.insert(key.clone(), candidate);
    }
    all.into_values().collect()
}

/// A feed that is no longer configured: what it was allowed to bring, it brought.
fn trusted_before() -> FeedPolicy {
    use ActionType::{AppPool, DoNothing, Service, UrlRewrite};
    FeedPolicy { allow: vec![DoNothing, UrlRewrite, Service, AppPool], ..FeedPolicy::default() }
}

fn withdrawn(feed: &FeedView<'_>, key: &Key) -> Option<String> {
    let (document, _) = feed.document?;
    document.withdrawn.iter().find(|w| w.id.covers(&key.id)).map(|w| w.reason.clone())
}
