//! The audit log: who changed what, from what, to what, and why. It only grows, and each entry holds the hash
//! of the one before, so that one cannot be altered or left out without all after it.
//!
//! Who can write to the database can write a whole new chain: the head's hash in a digest or in syslog, kept
//! elsewhere, is what shows that. Writing is [`crate::db::Change::audit`]; here is what an entry is, and the check.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopgap_core::plan::sha256_hex;

/// What a change says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Who: a user's name, or `token LABEL`.
    pub user: String,
    /// What was done: `settings.set`, `server.remove`, ...
    pub action: String,
    /// To what: `organization`, `server Server1`, ...
    pub object: String,
    /// The state before; never a secret.
    pub before: Option<Value>,
    /// The state after; never a secret.
    pub after: Option<Value>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

impl Said {
    /// With the state before.
    pub fn from(mut self, before: Value) -> Said {
        self.before = Some(before);
        self
    }

    /// With the state after.
    pub fn to(mut self, after: Value) -> Said {
        self.after = Some(after);
        self
    }

    /// With a reason, where one was given.
    pub fn because(mut self, reason: Option<String>) -> Said {
        self.reason = reason.filter(|reason| !reason.trim().is_empty());
        self
    }
}

/// An entry. `before` and `after` are JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// Its number; there are no gaps.
    pub seq: u64,
    /// When, by the hub's clock.
    pub time: String,
    /// Who.
    pub user: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// The state before.
    pub before: Option<Value>,
    /// The state after.
    pub after: Option<Value>,
    /// Why.
    pub reason: Option<String>,
    /// The hash of the entry before; empty in the first.
    pub previous: String,
    /// SHA-256, in hex, over `previous` and this entry.
    pub hash: String,
}

impl Entry {
    /// What was said, as the entry after the one whose hash is `previous`.
    pub fn chained(seq: u64, time: &str, said: &Said, previous: &str) -> Entry {
        let mut entry = Entry {
            seq,
            time: time.to_owned(),
            user: said.user.clone(),
            action: said.action.clone(),
            object: said.object.clone(),
            before: said.before.clone(),
            after: said.after.clone(),
            reason: said.reason.clone(),
            previous: previous.to_owned(),
            hash: String::new(),
        };
        entry.hash = entry.digest();
        entry
    }

    /// SHA-256 of the entry as one JSON array: it has one form, and no part can pass for a piece of another.
    /// Values inside are texts, as they are kept.
    pub fn digest(&self) -> String {
        let text = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
        let row = serde_json::json!([
            self.previous,
            self.seq,
            self.time,
            self.user,
            self.action,
            self.object,
            text(&self.before),
            text(&self.after),
            self.reason,
        ]);
        sha256_hex(row.to_string().as_bytes())
    }
}

/// What a check of the chain came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verified {
    /// Whether every entry holds.
    pub ok: bool,
    /// Entries that hold, from the first on.
    pub entries: u64,
    /// The hash of the last of them; to be kept elsewhere.
    pub head: String,
    /// What is wrong with the next one.
    pub fault: Option<String>,
}

/// Follows the chain, entry by entry.
#[derive(Debug, Default)]
pub struct Chain {
    seq: u64,
    head: String,
    fault: Option<String>,
}

impl Chain {
    /// Takes the next entry; nothing after a fault is looked at. Returns whether the chain still holds.
    pub fn take(&mut self, entry: &Entry) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let expected = self.seq + 1;
        let fault = if entry.seq != expected {
            Some(format!("entry {expected} is missing: the next one is {}", entry.seq))
        } else if entry.previous != self.head {
            Some(format!("entry {expected} does not follow the one before it"))
        } else if entry.digest() != entry.hash {
            Some(format!("entry {expected} was altered"))
        } else {
            None
        };
        if fault.is_some() {
            self.fault = fault;
            return false;
        }
        self.seq = expected;
        self.head.clone_from(&entry.hash);
        true
    }

    /// The end: `head` is what the store says of its last entry.
    pub fn end(mut self, seq: u64, head: &str) -> Verified {
        if self.fault.is_none() && (self.seq, self.head.as_str()) != (seq, head) {
            let found = self.seq;
            self.fault = Some(format!("the log should end with entry {seq}, and ends with entry {found}"));
        }
        Verified { ok: self.fault.is_none(), entries: self.seq, head: self.head, fault: self.fault }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<Entry> {
        let mut previous = String::new();
        (1..=3)
            .map(|seq| {
                let said = Said {
                    user: "ada".into(),
                    action: "settings.set".into(),
                    object: format!("server S{seq}"),
                    after: Some(serde_json::json!({"mitigations_enabled": false})),
                    ..Said::default()
                };
                let entry = Entry::chained(seq, "2026-11-22T03:00:00.000000Z", &said, &previous);
                previous.clone_from(&entry.hash);
                entry
            })
            .collect()
    }

    fn verify(log: &[Entry], seq: u64, head: &str) -> Verified {
        let mut chain = Chain::default();
        for entry in log {
            chain.take(entry);
        }
        chain.end(seq, head)
    }

    #[test]
    fn a_whole_log_holds() {
        let log = log();
        let verified = verify(&log, 3, &log[2].hash);
        assert!(verified.ok && verified.entries == 3, "{verified:?}");
    }

    #[test]
    fn an_altered_a_missing_and_a_cut_off_entry_are_found() {
        let whole = log();
        let head = whole[2].hash.clone();
        let mut altered = whole.clone();
        altered[1].reason = Some("because".into());
        assert_eq!(verify(&altered, 3, &head).fault.unwrap(), "entry 2 was altered");
        let mut rehashed = altered;
        rehashed[1].hash = rehashed[1].digest();
        assert_eq!(verify(&rehashed, 3, &head).fault.unwrap(), "entry 3 does not follow the one before it");
        let missing = [whole[0].clone(), whole[2].clone()];
        assert_eq!(verify(&missing, 3, &head).fault.unwrap(), "entry 2 is missing: the next one is 3");
        let cut = verify(&whole[..2], 3, &head);
        assert_eq!(cut.fault.unwrap(), "the log should end with entry 3, and ends with entry 2");
    }
}
