//! The operator's word on this server: `block`, `unblock`, `revert`, `pause`, `resume`, `approve`,
//! `server set --local`. It wins over the feed, and it is kept in the data folder, since
//! `stopgap.toml` belongs to packages and configuration management.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::Ledger;
use stopgap_core::ledger::TargetEntry;
use stopgap_core::policy::{Approved, Block, Level, Policy};
use stopgap_core::report::PauseReport;
use stopgap_feed::{FeedName, Id, Key};

use crate::config::Config;

/// What was said here, in the file `operator.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// MitigationsEnabled; `None`: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigations_enabled: Option<bool>,
    /// MitigationsBlocked.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// Nothing is changed until its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// What may come into force where approval is required: the newest word about each mitigation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approved>,
}

/// A pause always has an end: nobody is left unprotected because somebody forgot to say `resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Its end.
    pub until: Timestamp,
    /// When it was said.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An id as an operator types it: `M1`, or `example:M1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Only this feed's; `None`: every feed's.
    pub feed: Option<FeedName>,
    /// The id.
    pub id: Id,
}

impl std::str::FromStr for Named {
    type Err = stopgap_feed::IdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(match s.split_once(':') {
            Some((feed, id)) => Named { feed: Some(feed.parse()?), id: id.parse()? },
            None => Named { feed: None, id: s.parse()? },
        })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.feed {
            Some(feed) => write!(f, "{feed}:{}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// How long and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Also takes off what is in force.
    pub take_off: bool,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it lapses.
    pub until: Option<Timestamp>,
}

impl Operator {
    /// Blocks `named`; a block of the same name is replaced, but one that takes off stays one that
    /// takes off.
    pub fn block(&mut self, named: Named, terms: Terms) {
        let same = |block: &Block| block.feed == named.feed && block.id == named.id;
        let took_off = self.blocks.iter().any(|block| same(block) && block.take_off);
        self.blocks.retain(|block| !same(block));
        self.blocks.push(Block {
            id: named.id,
            feed: named.feed,
            level: Level::Server,
            take_off: terms.take_off || took_off,
            reason: terms.reason,
            until: terms.until,
        });
    }

    /// Takes a block back. Returns whether there was one.
    pub fn unblock(&mut self, named: &Named) -> bool {
        let before = self.blocks.len();
        self.blocks.retain(|block| block.feed != named.feed || block.id != named.id);
        self.blocks.len() < before
    }

    /// The pause that holds now.
    pub fn paused(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }

    /// Approves one revision of a mitigation, in place of what was said of it before.
    pub fn approve(&mut self, approved: Approved) {
        self.approvals.retain(|before| before.key != approved.key);
        self.approvals.push(approved);
    }

    /// Takes the approval of a mitigation back. Returns whether there was one.
    pub fn unapprove(&mut self, key: &Key) -> bool {
        let before = self.approvals.len();
        self.approvals.retain(|approved| approved.key != *key);
        self.approvals.len() < before
    }

    /// The policy of this server: configuration and operator together. A list of blocks is a
    /// union; the operator's switch wins over the file's.
    pub fn policy(&self, config: &Config, now: Timestamp) -> Policy {
        let configured = config.mitigations_blocked.iter().map(|id| Block {
            id: id.clone(),
            feed: None,
            level: Level::Server,
            take_off: false,
            reason: Some(format!("mitigations_blocked in {}", config.path.display())),
            until: None,
        });
        Policy {
            organization_enabled: true,
            server_enabled: self.mitigations_enabled.unwrap_or(config.mitigations_enabled),
            blocks: self
                .blocks
                .iter()
                .filter(|block| block.until.is_none_or(|until| now < until))
                .cloned()
                .chain(configured)
                .collect(),
            paused_until: self.paused(now).map(|pause| pause.until),
            approval: config.approval,
            observe: config.observe,
            approvals: self.approvals.clone(),
            windows: Vec::new(),
            rings: config.rings.clone(),
            critical_at_once: config.critical_at_once,
            stops_held: None,
            now: Vec::new(),
            removal: config.removal,
            soak_seconds: config.soak_seconds,
            server_id: config.server.clone(),
        }
    }
}

impl From<&Pause> for PauseReport {
    fn from(pause: &Pause) -> PauseReport {
        let Pause { until, since, by, reason } = pause.clone();
        PauseReport { until, since, by, reason }
    }
}

/// Forgets that `what` failed (an id, such as `M1`) or that it was given up (a target's name), so that
/// the next cycle tries again. Returns whether there was something to forget.
pub fn retry(ledger: &mut Ledger, what: &str) -> bool {
    let before = ledger.failures.len();
    if let Ok(named) = what.parse::<Named>() {
        ledger
            .failures
            .retain(|key, _| named.id != key.id || named.feed.as_ref().is_some_and(|feed| *feed != key.feed));
    }
    let waits = |target: &&mut TargetEntry| target.given_up.is_some() || !target.deaths.is_empty();
    let given_up = ledger.targets.get_mut(what).filter(waits);
    let was_given_up = given_up.is_some();
    if let Some(target) = given_up {
        target.given_up = None;
        target.reversals.clear();
        target.deaths.clear();
    }
    ledger.failures.len() < before || was_given_up
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(s: &str) -> Named {
        s.parse().unwrap()
    }

    #[test]
    fn a_block_is_taken_back_under_the_name_it_was_given() {
        let mut operator = Operator::default();
        operator.block(named("M1"), Terms::default());
        operator.block(named("example:M2"), Terms { take_off: true, ..Terms::default() });
        assert!(!operator.unblock(&named("M2")));
        assert!(operator.unblock(&named("M01")));
        assert_eq!(operator.blocks.len(), 1);
        assert!(operator.unblock(&named("example:M2")));
    }

    #[test]
    fn blocking_after_a_revert_does_not_put_it_back() {
        let mut operator = Operator::default();
        operator.block(named("M1"), Terms { take_off: true, ..Terms::default() });
        operator.block(named("M1"), Terms { reason: Some("still".into()), ..Terms::default() });
        assert_eq!(operator.blocks.len(), 1);
        assert!(operator.blocks[0].take_off);
    }
}
