//! What an agent and its organization's hub say to each other, as JSON under `/v1/agent`.
//!
//! Both sides are updated at different times. So fields are added and never change their meaning, every
//! field that was added later has a default, unknown fields are ignored, and words that one side may
//! not know yet (a verdict, a status) travel as text. Nothing here can put a mitigation on a server:
//! [`Settings`] hold back, and take off where the agent's own configuration lets them. What a group has
//! ([`Settings::protected`]) counts where the agent's own configuration asks for it, as its stated facts do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_feed::document::Wave;
use stopgap_feed::{FeedName, Id};

use crate::fronted::Group;
use crate::policy::{Approval, Approved, Block};
use crate::window::Window;

/// A batch holds no more reports than this; an agent that was away sends several batches.
pub const MAX_REPORTS: usize = 64;
/// Steps of a plan; what is more is counted in the last.
pub const MAX_PLAN_STEPS: usize = 50;
/// Sequences that one side skips at most. Whoever says more would end the counting.
pub const MAX_STEP: u64 = 1 << 32;
/// Octets of a request's body, before and after decompression.
pub const MAX_BODY: usize = 4 << 20;

/// `POST /v1/agent/enroll`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enroll {
    /// The secret part of the enrollment token.
    pub token: String,
    /// The server's name as people know it; the hub adds nothing to it.
    pub name: String,
    /// SHA-256, in hex, of what tells this machine from its clones (`/etc/machine-id`, `MachineGuid`).
    pub machine: String,
    /// The agent's version.
    pub agent_version: String,
}

/// The answer to [`Enroll`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// This server's own identity at the hub, a UUID; it stays when the server is renamed.
    pub server: String,
    /// The bearer credential, told once.
    pub credential: String,
}

/// `POST /v1/agent/credential`: another bearer credential. The one before works until the new one was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The new bearer credential.
    pub credential: String,
}

/// `GET /v1/agent/settings`, with an ETag: what the organization wants of this server, already
/// inherited: organization, groups and server in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The name of all that follows, made of its content: another after every change that touches this server,
    /// and the same where it is as it was. It is the ETag.
    pub version: String,
    /// The organization's MitigationsEnabled.
    pub organization_enabled: bool,
    /// This server's MitigationsEnabled, as the hub has it; `None`: nothing said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_enabled: Option<bool>,
    /// MitigationsBlocked of every level.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// Every change is held until then: a freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_until: Option<Timestamp>,
    /// Whether a person approves first; `None`: as the server is configured. `required` wins over the
    /// server's own `automatic`, never the reverse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What was approved.
    #[serde(default)]
    pub approvals: Vec<Approved>,
    /// The organization's rings.
    #[serde(default)]
    pub rings: Vec<Wave>,
    /// When something new may come into force; none: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// InternetWebProxy; `None`: as the server is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_web_proxy: Option<String>,
    /// Hosts that are asked without it.
    #[serde(default)]
    pub internet_web_proxy_bypass: Vec<String>,
    /// DataCollectionEnabled.
    #[serde(default)]
    pub data_collection_enabled: bool,
    /// Changes are taken one server after another in this server's group: this one asks for its turn.
    #[serde(default)]
    pub takes_turns: bool,
    /// So many servers of this server's group may have something stopped and no more: this one asks before it stops
    /// a service or a pool.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub caps_stops: bool,
    /// Feeds that the hub mirrors, at `/v1/agent/feeds/NAME`.
    #[serde(default)]
    pub feeds: Vec<FeedName>,
    /// Empty: no hub ever filled it, and one version does not tell what a group has. See [`Settings::protected`].
    #[serde(default)]
    pub protected_facts: BTreeMap<String, String>,
    /// What the groups have that this server may front, by the group's name. It counts only at a target whose own
    /// table names the group (`protects`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub protected: BTreeMap<String, Group>,
}

/// `POST /v1/agent/reports`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reports {
    /// As in [`Enroll::machine`]: the same credential from two machines is a clone.
    pub machine: String,
    /// In the order of [`ServerReport::sequence`], at most [`MAX_REPORTS`].
    pub reports: Vec<ServerReport>,
}

/// The answer to [`Reports`], given after they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Everything up to this sequence is kept, and need not be sent again.
    pub through: u64,
    /// The version of [`Settings`] that counts now.
    pub settings: String,
}

/// What a server says of itself after a cycle that changed something, and once an hour in any case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Grows by one with each report since enrollment; the same one again changes nothing.
    pub sequence: u64,
    /// The server's clock.
    pub at: Timestamp,
    /// The agent's version.
    pub agent_version: String,
    /// `linux` or `windows`, and what the system calls itself.
    #[serde(default)]
    pub system: String,
    /// The version of [`Settings`] that this report was made under; empty: none yet.
    #[serde(default)]
    pub settings: String,
    /// MitigationsEnabled on the server itself.
    pub mitigations_enabled: bool,
    /// MitigationsBlocked on the server itself.
    #[serde(default)]
    pub mitigations_blocked: Vec<String>,
    /// Versions: product to version, those that mitigations or targets ask for.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// Products that are here, but whose version could not be read, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts_unknown: BTreeMap<String, String>,
    /// Every mitigation that the feeds bring or the ledger holds.
    #[serde(default)]
    pub mitigations: Vec<Mitigation>,
    /// Mitigations that keep a service or a pool stopped here, as `feed:id`; `None`: an agent that does not tell
    /// them apart, whose mitigations count by their type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Vec<String>>,
    /// Feeds, one entry each.
    #[serde(default)]
    pub feeds: Vec<Feed>,
    /// Until when an operator paused this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// What an operator should know about this server.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What happened since the report before, oldest first.
    #[serde(default)]
    pub events: Vec<Happened>,
}

/// One mitigation on a server: [`crate::report::MitigationReport`] with words as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mitigation {
    /// The feed.
    pub feed: FeedName,
    /// Its id in that feed.
    pub id: Id,
    /// Its type.
    #[serde(rename = "type")]
    pub action_type: String,
    /// The publisher's description.
    #[serde(default)]
    pub description: String,
    /// SHA-256 of the revision's octets, in hex; an approval names it.
    #[serde(default)]
    pub digest: String,
    /// What should be.
    pub verdict: String,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// One word for tables.
    pub status: String,
    /// What was observed.
    pub in_force: bool,
    /// When it was first put on here.
    #[serde(default)]
    pub applied_at: Option<Timestamp>,
    /// The latest proof that it works.
    #[serde(default)]
    pub proven_at: Option<Timestamp>,
    /// Its own end, at which it is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Places, as `status --json` has them.
    #[serde(default)]
    pub actions: serde_json::Value,
    /// Where it waits for a person's word, a time or a place: what would be done here, at most [`MAX_PLAN_STEPS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlanStep>,
}

/// One step of a plan, with words as text (`steps` in `plan --json`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// The target.
    pub target: String,
    /// What it does, or `cannot`; empty: how many more steps there are.
    pub kind: String,
    /// The file or folder that it touches; empty where it touches none.
    #[serde(default)]
    pub path: String,
    /// In words.
    #[serde(default)]
    pub detail: String,
}

/// One feed on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Its name.
    pub name: FeedName,
    /// The serial that was last trusted.
    #[serde(default)]
    pub serial: Option<u64>,
    /// When it was last verified.
    #[serde(default)]
    pub trusted_at: Option<Timestamp>,
    /// When the trusted document ends.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// Why nothing new comes from it: the code of a refusal, or `unreachable`.
    #[serde(default)]
    pub error: Option<String>,
}

/// One event, with the number that the server's own log gives it (1005 applied, 1006 taken off, ...).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Its number.
    pub event: u16,
    /// `feed:id`, where it is about one mitigation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mitigation: Option<String>,
    /// In words.
    pub text: String,
}

/// `POST /v1/agent/turn`: this server would change something, and asks whether it is its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What it would change, as `feed:id`.
    pub mitigations: Vec<String>,
    /// Those of them that stop a service or a pool, where nothing is stopped on this server yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<String>,
    /// The sequence of the newest report that was made: this one and those before cannot know how it went.
    #[serde(default)]
    pub sequence: u64,
}

/// The answer to [`Turn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnAnswer {
    /// Whether it may go on now.
    pub granted: bool,
    /// Why not: who is changing now, or who failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why [`Turn::stops`] wait, whatever becomes of the rest: as many servers as may have something stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops_held: Option<String>,
}

/// `GET /v1/agent/events` is an event stream; each event's name is one of these, and its data is one JSON
/// object. What it says is a reason to ask, never content.
pub mod event {
    /// The settings changed: `{"version":"…"}`.
    pub const SETTINGS: &str = "settings";
    /// A feed's serial changed at the mirror: `{"feed":"…","serial":12}`.
    pub const FEED: &str = "feed";
    /// A place came free for what this server would stop: `{}`.
    pub const PLACE: &str = "place";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_later_version_is_read_by_what_is_known_of_it() {
        let report: ServerReport = serde_json::from_str(
            r#"{"sequence":7,"at":"2026-11-22T03:00:00Z","agent_version":"9.0.0","mitigations_enabled":true,
                "mood":"fine","mitigations":[{"feed":"example","id":"M1","type":"Quarantine","verdict":"Later",
                "status":"Resting","in_force":false,"color":"blue"}]}"#,
        )
        .unwrap();
        assert_eq!((report.sequence, report.mitigations[0].status.as_str()), (7, "Resting"));
        assert!(report.events.is_empty());
    }

    #[test]
    fn the_smallest_settings_hold_nothing_back() {
        let settings: Settings =
            serde_json::from_str(r#"{"version":"1","organization_enabled":true}"#).unwrap();
        assert!(settings.blocks.is_empty() && settings.frozen_until.is_none() && !settings.takes_turns);
        assert_eq!((settings.server_enabled, settings.approval), (None, None));
    }
}
