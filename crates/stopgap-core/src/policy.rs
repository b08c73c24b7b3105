//! Policy: what this server's operator and organization allow. The operator's word wins over the
//! feed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_feed::document::{ActionType, Wave};
use stopgap_feed::{FeedName, Id, Key};

use crate::window::Window;

/// Everything that holds a mitigation back, or takes one off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The organization's MitigationsEnabled. Off wins, whatever the server says.
    pub organization_enabled: bool,
    /// This server's MitigationsEnabled. Off leaves this server alone.
    pub server_enabled: bool,
    /// MitigationsBlocked: the union of every list, local and hub.
    pub blocks: Vec<Block>,
    /// Until when every change is held (`stopgap pause`).
    pub paused_until: Option<Timestamp>,
    /// Whether a person has to approve each revision of a mitigation first.
    pub approval: Approval,
    /// What was approved.
    pub approvals: Vec<Approved>,
    /// Whether rules only count and log what they would refuse.
    pub observe: bool,
    /// The organization's rings, by servers: the later of a ring and the publisher's wave counts.
    pub rings: Vec<Wave>,
    /// When something new may come into force; none: at any time.
    pub windows: Vec<Window>,
    /// Whether a `critical` mitigation waits for neither wave nor ring nor window.
    pub critical_at_once: bool,
    /// Why nothing new may be stopped here, where as many servers of a group as may have something stopped.
    pub stops_held: Option<String>,
    /// Ids that wait for neither wave nor ring nor window nor place (`apply --now`).
    pub now: Vec<Id>,
    /// Takes a mitigation off when the fix is installed, or leaves that to a person.
    pub removal: Removal,
    /// Seconds that a fixed version must have been seen before its mitigation leaves.
    pub soak_seconds: u64,
    /// This server's own name in waves: any text that stays the same.
    pub server_id: String,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            organization_enabled: true,
            server_enabled: true,
            blocks: Vec::new(),
            paused_until: None,
            approval: Approval::Automatic,
            approvals: Vec::new(),
            observe: false,
            rings: Vec::new(),
            windows: Vec::new(),
            critical_at_once: false,
            stops_held: None,
            now: Vec::new(),
            removal: Removal::Automatic,
            soak_seconds: DEFAULT_SOAK_SECONDS,
            server_id: String::new(),
        }
    }
}

/// Thirty minutes: an update that fails is rolled back within that time, and the mitigation must
/// still be there then.
pub const DEFAULT_SOAK_SECONDS: u64 = 30 * 60;

/// Who takes a mitigation off once the server is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// The agent, after the soak.
    #[default]
    Automatic,
    /// A person, as Exchange does it.
    Manual,
}

/// Who lets a mitigation come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// The publisher's signature suffices.
    #[default]
    Automatic,
    /// A person approves each revision.
    Required,
}

/// An operator's word that one revision of a mitigation may come into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The mitigation.
    pub key: Key,
    /// SHA-256 of its octets, in hex: another revision needs another word.
    pub digest: String,
    /// When it was said.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Organization,
    Group,
    Server,
}

/// One entry of MitigationsBlocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What is blocked, with everything below it: `M1` blocks `M1.2`.
    pub id: Id,
    /// In this feed only; `None`: in every feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed: Option<FeedName>,
    /// Whose list it stands on.
    pub level: Level,
    /// Blocking alone does not take off; `stopgap revert` does both.
    #[serde(default)]
    pub take_off: bool,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Block {
    fn holds(&self, feed: &FeedName, now: Timestamp) -> bool {
        self.feed.as_ref().is_none_or(|f| f == feed) && self.until.is_none_or(|until| now < until)
    }
}

impl Policy {
    /// Whose switch is off, if one is: the documented truth table.
    pub fn disabled_by(&self) -> Option<Level> {
        match (self.organization_enabled, self.server_enabled) {
            (true, true) => None,
            (false, _) => Some(Level::Organization),
            (true, false) => Some(Level::Server),
        }
    }

    /// The block that covers the whole mitigation, one that takes off first.
    pub fn block_of(&self, key: &Key, now: Timestamp) -> Option<&Block> {
        let covers = |block: &&Block| block.holds(&key.feed, now) && block.id.covers(&key.id);
        self.blocks.iter().filter(covers).max_by_key(|block| block.take_off)
    }

    /// The word that approved this revision, or else an earlier one.
    pub fn approved(&self, key: &Key, digest: &str) -> Option<&Approved> {
        let mut of_it = self.approvals.iter().filter(|approved| approved.key == *key);
        of_it.clone().find(|approved| approved.digest == digest).or_else(|| of_it.next_back())
    }

    /// The block that covers one action of it.
    pub fn action_block(&self, feed: &FeedName, action: &Id, now: Timestamp) -> Option<&Block> {
        let covers = |block: &&Block| block.holds(feed, now) && block.id.covers(action);
        self.blocks.iter().filter(covers).max_by_key(|block| block.take_off)
    }
}

/// What one feed may do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPolicy {
    /// Action types that it may bring; `DoNothing` is always allowed.
    pub allow: Vec<ActionType>,
    /// Whether what cannot be read counts as applying.
    pub unknown_applies: bool,
    /// Whether a person has to approve what it brings; `None`: as for the server.
    pub approval: Option<Approval>,
    /// Whether its rules only count and log; `None`: as for the server.
    pub observe: Option<bool>,
}

impl Default for FeedPolicy {
    fn default() -> Self {
        FeedPolicy {
            allow: vec![ActionType::UrlRewrite],
            unknown_applies: false,
            approval: None,
            observe: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_truth_table() {
        for (organization, server, expected) in [
            (true, true, None),
            (true, false, Some(Level::Server)),
            (false, true, Some(Level::Organization)),
            (false, false, Some(Level::Organization)),
        ] {
            let policy =
                Policy { organization_enabled: organization, server_enabled: server, ..Policy::default() };
            assert_eq!(policy.disabled_by(), expected);
        }
    }

    #[test]
    fn a_bare_id_blocks_in_every_feed_and_a_lapsed_block_in_none() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let block = |id: &str, feed: Option<&str>, until: Option<&str>| Block {
            id: id.parse().unwrap(),
            feed: feed.map(|f| f.parse().unwrap()),
            level: Level::Server,
            take_off: false,
            reason: None,
            until: until.map(|t| t.parse().unwrap()),
        };
        let blocked = |block: Block, key: &str| {
            let policy = Policy { blocks: vec![block], ..Policy::default() };
            policy.block_of(&key.parse().unwrap(), now).is_some()
        };
        assert!(blocked(block("M1", None, None), "a:M1"));
        assert!(blocked(block("M01", None, None), "b:M1.2"));
        assert!(!blocked(block("M1.2", None, None), "a:M1"));
        assert!(blocked(block("M1", Some("a"), None), "a:M1"));
        assert!(!blocked(block("M1", Some("a"), None), "b:M1"));
        assert!(!blocked(block("M1", None, Some("2026-11-22T03:00:00Z")), "a:M1"));
        assert!(blocked(block("M1", None, Some("2026-11-22T03:00:01Z")), "a:M1"));
    }
}
