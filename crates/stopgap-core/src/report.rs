//! The report: the shapes that `status`, `plan` and `apply` print as JSON, and how one word comes
//! from what should be and what is. Field names are API.

mod places;
mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use stopgap_feed::document::{ActionKind, ActionType};
use stopgap_feed::{FeedName, Id, Key};

use crate::ledger::Ledger;
use crate::observed::Observed;
use crate::plan::{Plan, Step};
use crate::proof::Proof;
use crate::select::{Selected, Selection, Verdict};
use places::places;
use status::status;

/// `status --json`, `plan --json`, `apply --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Every mitigation that the feeds bring or the ledger holds, by feed and id.
    pub mitigations: Vec<MitigationReport>,
    /// `plan` and `apply` only: what would be, or was, done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
    /// Feeds, one line each: what was last trusted, and what is wrong with it now.
    pub feeds: Vec<FeedReport>,
    /// Every change is held, until when and by whom; absent where nobody pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseReport>,
    /// The organization's hub; absent where this server belongs to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubReport>,
    /// What an operator should know about this server: missing hooks, foreign edits, refusals.
    pub warnings: Vec<String>,
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseReport {
    /// Its end.
    pub until: Timestamp,
    /// When it was said.
    pub since: Timestamp,
    /// By whom.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// The hub that this server belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HubReport {
    /// Its address.
    pub url: String,
    /// This server's identity there, a UUID.
    pub server: String,
    /// The version of the settings that count here; `null`: nothing was ever said.
    pub settings: Option<String>,
    /// When it last answered.
    pub heard_at: Timestamp,
    /// Since when it does not; what it said goes on counting.
    pub silent_since: Option<Timestamp>,
    /// Why not.
    pub error: Option<String>,
}

/// One feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedReport {
    /// Its name.
    pub name: FeedName,
    /// The serial that was last trusted.
    pub serial: Option<u64>,
    /// When it was last verified.
    pub trusted_at: Option<Timestamp>,
    /// When the trusted document ends.
    pub expires: Option<Timestamp>,
    /// Why nothing new comes from it: the code of a refusal, or `unreachable`.
    pub error: Option<String>,
    /// The error in words.
    pub message: Option<String>,
}

/// One mitigation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MitigationReport {
    /// The feed that brought it.
    pub feed: FeedName,
    /// Its id in that feed.
    pub id: Id,
    /// The type of its first action other than DoNothing; else DoNothing.
    #[serde(rename = "type")]
    pub action_type: ActionType,
    /// The publisher's description.
    pub description: String,
    /// What should be.
    pub verdict: &'static str,
    /// Why; `null` where it simply applies.
    pub reason: Option<String>,
    /// One word for tables.
    pub status: Status,
    /// What was observed.
    pub in_force: bool,
    /// The latest proof that it works.
    pub proven_at: Option<Timestamp>,
    /// Action by action.
    pub actions: Vec<ActionReport>,
}

/// One word for tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub enum Status {
    Applied,
    Observing,
    Unproven,
    Partial,
    Ineffective,
    Contested,
    Blocked,
    Disabled,
    NotApplicable,
    Unknown,
    AwaitingApproval,
    Scheduled,
    Frozen,
    Failed,
    Unsupported,
    Expired,
    Withdrawn,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 17] = [
        Status::Applied,
        Status::Observing,
        Status::Unproven,
        Status::Partial,
        Status::Ineffective,
        Status::Contested,
        Status::Blocked,
        Status::Disabled,
        Status::NotApplicable,
        Status::Unknown,
        Status::AwaitingApproval,
        Status::Scheduled,
        Status::Frozen,
        Status::Failed,
        Status::Unsupported,
        Status::Expired,
        Status::Withdrawn,
    ];

    /// The word, as JSON has it.
    pub fn word(self) -> &'static str {
        match self {
            Status::Applied => "Applied",
            Status::Observing => "Observing",
            Status::Unproven => "Unproven",
            Status::Partial => "Partial",
            Status::Ineffective => "Ineffective",
            Status::Contested => "Contested",
            Status::Blocked => "Blocked",
            Status::Disabled => "Disabled",
            Status::NotApplicable => "NotApplicable",
            Status::Unknown => "Unknown",
            Status::AwaitingApproval => "AwaitingApproval",
            Status::Scheduled => "Scheduled",
            Status::Frozen => "Frozen",
            Status::Failed => "Failed",
            Status::Unsupported => "Unsupported",
            Status::Expired => "Expired",
            Status::Withdrawn => "Withdrawn",
        }
    }

    /// What an operator has to look at.
    pub fn is_wanting(self) -> bool {
        use Status::*;
        matches!(self, Unproven | Partial | Ineffective | Contested | Unknown | Failed | Unsupported)
    }
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionReport {
    /// Its id.
    pub id: Id,
    /// Where it works or should work.
    pub targets: Vec<PlaceReport>,
}

/// One action at one listener of one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceReport {
    /// The target's name.
    pub target: String,
    /// The site's name.
    pub site: String,
    /// The listener, as `https://127.0.0.1:443`; `null` where the site has none that is known.
    pub listener: Option<String>,
    /// Whether it was observed there, and refuses.
    pub in_force: bool,
    /// Its rules are asked there, and log what they would refuse; they refuse nothing. Absent: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub observing: bool,
    /// What the latest probe showed.
    pub proof: Proof,
    /// Why it is not in force or not proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Failures of this cycle by mitigation: a target that cannot express it, a rejected change.
pub type Failures = BTreeMap<Key, String>;

/// Puts together what should be and what was observed.
pub fn report(
    selection: &Selection,
    observed: &[Observed],
    ledger: &Ledger,
    failures: &Failures,
    feeds: Vec<FeedReport>,
    plan: Option<&Plan>,
) -> Report {
    let mitigations = selection
        .mitigations
        .iter()
        .map(|selected| mitigation_report(selected, observed, ledger, failures))
        .collect();
    let warnings = observed.iter().flat_map(|target| {
        let foreign = target.live.foreign.iter().map(|text| format!("{}: {text}", target.target));
        target.warnings.iter().cloned().chain(foreign)
    });
    Report {
        mitigations,
        steps: plan.map(Plan::steps),
        feeds,
        paused: None,
        hub: None,
        warnings: warnings.collect(),
    }
}

fn mitigation_report(
    selected: &Selected,
    observed: &[Observed],
    ledger: &Ledger,
    failures: &Failures,
) -> MitigationReport {
    let entry = ledger.mitigations.get(&selected.key);
    let actions: Vec<ActionReport> = selected
        .mitigation
        .actions
        .iter()
        .map(|action| ActionReport {
            id: action.id.clone(),
            targets: match action.kind {
                ActionKind::DoNothing => Vec::new(),
                _ => places(selected, action, observed, entry),
            },
        })
        .collect();
    let only_heartbeat = selected.mitigation.actions.iter().all(|a| a.kind == ActionKind::DoNothing);
    let in_force = if only_heartbeat {
        entry.is_some()
    } else {
        actions.iter().flat_map(|action| &action.targets).any(|place| place.in_force)
    };
    let remembered = || ledger.failures.get(&selected.key).map(|failure| failure.why.clone());
    let failure = failures.get(&selected.key).cloned().or_else(remembered);
    let places: Vec<&PlaceReport> = actions.iter().flat_map(|action| &action.targets).collect();
    let contested = selected.targets.iter().find_map(|target| ledger.contested(target));
    let (status, status_reason) = match (contested, &failure) {
        (Some(given_up), _) if matches!(selected.verdict, Verdict::Applies(_)) => {
            (Status::Contested, Some(format!("no longer repaired since {}: {}", given_up.at, given_up.found)))
        }
        (_, Some(failure)) if matches!(selected.verdict, Verdict::Applies(_)) && !in_force => {
            (Status::Failed, Some(failure.clone()))
        }
        (_, Some(failure))
            if matches!(selected.verdict, Verdict::Applies(_)) && is_outdated(selected, observed) =>
        {
            (Status::Failed, Some(format!("an earlier revision stays in force: {failure}")))
        }
        _ => status(&selected.verdict, in_force, only_heartbeat, &places, observed),
    };
    let reason = status_reason.or(match &selected.verdict {
        Verdict::Applies(_) if selected.vanished => Some("the newest document no longer holds it".into()),
        Verdict::Applies(_) => failure,
        other => Some(other.reason()),
    });
    let proven =
        entry.into_iter().flat_map(|e| &e.proofs).filter(|p| p.proof == Proof::Proven).map(|p| p.at).max();
    MitigationReport {
        feed: selected.key.feed.clone(),
        id: selected.key.id.clone(),
        action_type: action_type(selected),
        description: selected.mitigation.description.clone(),
        verdict: selected.verdict.word(),
        reason,
        status,
        in_force,
        proven_at: proven.filter(|_| in_force),
        actions,
    }
}

/// Whether what is in force somewhere is another revision than the one that should be.
fn is_outdated(selected: &Selected, observed: &[Observed]) -> bool {
    let mut holds = observed.iter().flat_map(|target| &target.live.holds);
    holds.any(|hold| {
        hold.key == selected.key
            && hold.digest != selected.digest
            // One that is blocked is only kept, in whatever revision.
            && selected.blocked_actions.iter().all(|action| action.id != hold.action)
    })
}

fn action_type(selected: &Selected) -> ActionType {
    let mut types = selected.mitigation.actions.iter().map(|action| action.kind.action_type());
    types.find(|t| *t != ActionType::DoNothing).unwrap_or(ActionType::DoNothing)
}

#[cfg(test)]
mod tests;
