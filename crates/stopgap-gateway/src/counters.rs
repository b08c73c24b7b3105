//! What the gateway has done since it started, for the control socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Names kept in [`Counters::by_rule`]. Rules come and go with every swap of the book; the names that
/// come after so many are counted in the sum alone.
const MAX_NAMES: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    probes: AtomicU64,
    malformed: AtomicU64,
    refused: AtomicU64,
    over_limit: AtomicU64,
    changed: AtomicU64,
    by_rule: Mutex<BTreeMap<String, u64>>,
    observed: AtomicU64,
    observed_by_rule: Mutex<BTreeMap<String, u64>>,
}

/// The counters at one moment. Field names are API.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Counted {
    /// Requests judged, probes and refused ones included.
    requests: u64,
    /// Those that carried `Stopgap-Probe`. They are treated as all others, and counted here alone. A
    /// stranger can send the field too, and so hides from the next three numbers; the log names each.
    probes: u64,
    /// Requests refused because of their form, before any rule saw them.
    malformed: u64,
    /// Requests refused by a rule, and responses withheld because a rule could not be applied to them.
    refused: u64,
    /// Those of them that took more steps than a request may cost.
    over_limit: u64,
    /// Responses in which rules changed a field.
    changed: u64,
    by_rule: BTreeMap<String, u64>,
    /// Requests that went on, and that a rule would have refused which is only observed.
    observed: u64,
    observed_by_rule: BTreeMap<String, u64>,
}

impl Counters {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn probe(&self) {
        self.probes.fetch_add(1, Relaxed);
    }

    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    pub(crate) fn changed(&self) {
        self.changed.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self, rule: &str, over_limit: bool) {
        self.refused.fetch_add(1, Relaxed);
        self.over_limit.fetch_add(u64::from(over_limit), Relaxed);
        count(&self.by_rule, rule);
    }

    pub(crate) fn observed(&self, rule: &str) {
        self.observed.fetch_add(1, Relaxed);
        count(&self.observed_by_rule, rule);
    }

    pub(crate) fn read(&self) -> Counted {
        Counted {
            requests: self.requests.load(Relaxed),
            probes: self.probes.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            over_limit: self.over_limit.load(Relaxed),
            changed: self.changed.load(Relaxed),
            by_rule: self.by_rule.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            observed: self.observed.load(Relaxed),
            observed_by_rule: self.observed_by_rule.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

fn count(by_rule: &Mutex<BTreeMap<String, u64>>, rule: &str) {
    let mut by_rule = by_rule.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(count) = by_rule.get_mut(rule) {
        *count += 1;
    } else if by_rule.len() < MAX_NAMES {
        by_rule.insert(rule.to_owned(), 1);
    }
}
