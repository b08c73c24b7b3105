//! Selection: what applies here, what is held back and why, and what has to leave.
//!
//! The verdict is what should be; what *is* in force is observed elsewhere. The first of these that
//! holds decides: Unsupported; NotApplicable; Withdrawn or Expired; Blocked; Disabled; Frozen;
//! AwaitingApproval; Scheduled; Capped; Applies. Blocked, Disabled, Frozen, AwaitingApproval, Scheduled and Capped
//! bring nothing new and leave what is in force; Withdrawn, Expired and a fix take it off, but not
//! while an operator pauses: then only the operator's own revert does.

mod candidate;
mod wave;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use stopgap_feed::document::{Action, ActionKind, ActionType, Document, Mitigation, Severity};
use stopgap_feed::{FeedName, Id, Key, VerifiedFeed};

use crate::applicability::{self, Applicability};
use crate::facts::Facts;
use crate::ledger::Ledger;
use crate::policy::{Approval, Approved, FeedPolicy, Level, Policy, Removal};
use crate::stops;
use crate::window;
use candidate::{Candidate, candidates};

/// What is known of one feed in this cycle.
#[derive(Debug, Clone)]
pub struct FeedView<'a> {
    name: FeedName,
    document: Option<(&'a Document, Timestamp)>,
    policy: FeedPolicy,
}

impl<'a> FeedView<'a> {
    /// A feed whose document was verified in this cycle, at `now`.
    pub fn current(name: FeedName, feed: &'a VerifiedFeed, policy: FeedPolicy, now: Timestamp) -> Self {
        FeedView { name, document: Some((feed.document(), now)), policy }
    }

    /// A feed that brings nothing in this cycle: it could not be fetched or was not trusted. What
    /// it brought before stays.
    pub fn silent(name: FeedName, policy: FeedPolicy) -> Self {
        FeedView { name, document: None, policy }
    }

    #[cfg(test)]
    pub(crate) fn of_document(name: &str, document: &'a Document, now: Timestamp) -> Self {
        FeedView {
            name: name.parse().unwrap(),
            document: Some((document, now)),
            policy: FeedPolicy::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with(self, policy: FeedPolicy) -> Self {
        FeedView { policy, ..self }
    }
}

/// One target with the facts that count there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// The server's facts, with the target's own on top.
    pub facts: Facts,
    /// A site name or role in a mitigation to the sites here that play it.
    pub sites: BTreeMap<String, Vec<String>>,
    /// The types of actions that it takes.
    pub takes: &'static [ActionType],
}

/// What should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This build cannot do what it asks.
    Unsupported(String),
    /// It does not concern this server (`unknown`: as far as can be told).
    NotApplicable {
        /// Why.
        why: String,
        /// The facts could not be read.
        unknown: bool,
    },
    /// The publisher recalled it.
    Withdrawn(String),
    /// Its own end has come.
    Expired(Timestamp),
    /// On a list of MitigationsBlocked.
    Blocked(Level, Option<String>),
    /// MitigationsEnabled is off.
    Disabled(Level),
    /// Changes are held until then.
    Frozen(Timestamp),
    /// A person has to approve this revision; an earlier one may have been approved.
    AwaitingApproval {
        /// The mitigation, as a person names it.
        name: String,
        /// The word about an earlier revision.
        earlier: Option<Approved>,
    },
    /// This server's turn comes then.
    Scheduled(Timestamp),
    /// It would stop something, and as many servers of its group as may have something stopped.
    Capped(String),
    /// It should be in force.
    Applies(String),
}

impl Verdict {
    /// The word in `verdict` of `--json`.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Unsupported(_) => "Unsupported",
            Verdict::NotApplicable { .. } => "NotApplicable",
            Verdict::Withdrawn(_) => "Withdrawn",
            Verdict::Expired(_) => "Expired",
            Verdict::Blocked(..) => "Blocked",
            Verdict::Disabled(_) => "Disabled",
            Verdict::Frozen(_) => "Frozen",
            Verdict::AwaitingApproval { .. } => "AwaitingApproval",
            // Both wait for their turn, and a hub of before knows the word.
            Verdict::Scheduled(_) | Verdict::Capped(_) => "Scheduled",
            Verdict::Applies(_) => "Applies",
        }
    }

    /// Why, as a sentence without a full stop.
    pub fn reason(&self) -> String {
        let whose = |level: &Level| match level {
            Level::Organization => "the organization",
            Level::Group => "a group of the organization",
            Level::Server => "this server",
        };
        match self {
            Verdict::Unsupported(why) | Verdict::NotApplicable { why, .. } | Verdict::Applies(why) => {
                why.clone()
            }
            Verdict::Withdrawn(why) => format!("withdrawn by the publisher: {why}"),
            Verdict::Expired(at) => format!("it ended at {at}"),
            Verdict::Blocked(level, None) => format!("blocked by {}", whose(level)),
            Verdict::Blocked(level, Some(why)) => format!("blocked by {}: {why}", whose(level)),
            Verdict::Disabled(level) => format!("MitigationsEnabled is off for {}", whose(level)),
            Verdict::Frozen(until) => format!("changes are held until {until:.0}"),
            Verdict::AwaitingApproval { name, earlier: None } => {
                format!(
                    "nobody approved it yet: `stopgap explain {name}` shows it, `stopgap approve {name}` lets it in"
                )
            }
            Verdict::AwaitingApproval { name, earlier: Some(earlier) } => format!(
                "this revision is another than the one that {} approved at {:.0}; `stopgap explain {name}` shows it, \
                 `stopgap approve {name}` lets it in",
                earlier.by, earlier.at
            ),
            Verdict::Capped(why) => why.clone(),
            Verdict::Scheduled(at) => format!("this server's turn is at {at:.0}"),
        }
    }
}

/// What the cycle has to see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// In force, in this revision.
    Apply,
    /// As it is: nothing new, nothing repaired, nothing taken off.
    Keep,
    /// Not in force.
    TakeOff,
}

/// One mitigation with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its identity.
    pub key: Key,
    /// What it says.
    pub mitigation: Mitigation,
    /// SHA-256 of its octets in hex.
    pub digest: String,
    /// When the feed that brought it was verified.
    pub trusted_at: Timestamp,
    /// What should be.
    pub verdict: Verdict,
    /// What to do.
    pub wish: Wish,
    /// The actions to render: all of them, without those that are blocked one by one.
    pub actions: Vec<Action>,
    /// Actions that are blocked one by one, or would stop what may not be stopped now: not put on, but left where
    /// they are in force.
    pub blocked_actions: Vec<Action>,
    /// Those of them that would stop something, and wait for a place.
    pub held_stops: BTreeSet<Id>,
    /// The targets that it concerns.
    pub targets: BTreeSet<String>,
    /// Targets whose facts could not be read: what is in force there stays.
    pub unsure: BTreeSet<String>,
    /// The mitigation that takes its place.
    pub superseded_by: Option<Key>,
    /// By target: the site roles that it knows, for [`Selected::sites_on`].
    pub roles: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Since when the server no longer needs it; the ledger keeps it for the soak.
    pub fixed_since: Option<Timestamp>,
    /// The newest document no longer holds it. It stays.
    pub vanished: bool,
    /// Since when this revision is known: waves and rings count from here.
    pub since: Timestamp,
    /// Its rules are to count and to log, and to refuse nothing.
    pub observe: bool,
}

/// Every mitigation with its verdict, by feed and id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// In order of their keys.
    pub mitigations: Vec<Selected>,
}

impl Selected {
    /// It should be in force, and waits for a person's word, a time or a place.
    fn waits(&self) -> bool {
        let held = matches!(
            self.verdict,
            Verdict::Frozen(_)
                | Verdict::AwaitingApproval { .. }
                | Verdict::Scheduled(_)
                | Verdict::Capped(_)
        );
        held && self.wish == Wish::Keep
    }

    /// The sites of `target` that play `role`; `None`: every site (the action names none).
    pub fn sites_on(&self, target: &str, role: Option<&str>) -> Option<Vec<String>> {
        let role = role?;
        Some(self.roles.get(target).and_then(|roles| roles.get(role)).cloned().unwrap_or_default())
    }
}

impl Selection {
    /// One of them.
    pub fn get(&self, key: &Key) -> Option<&Selected> {
        self.mitigations.iter().find(|selected| selected.key == *key)
    }

    /// As it would be if this one came in now. `None`: what keeps it out is not a person's word, a time or a place that
    /// it waits for.
    pub fn let_in(&self, key: &Key, ledger: &Ledger) -> Option<Selection> {
        if !self.get(key)?.waits() {
            return None;
        }
        let mut mitigations = self.mitigations.clone();
        for selected in mitigations.iter_mut().filter(|selected| selected.key == *key) {
            let stays = |id: &Id| {
                let blocked = selected.blocked_actions.iter().any(|action| action.id == *id);
                blocked && !selected.held_stops.contains(id)
            };
            let (blocked, actions) =
                selected.mitigation.actions.iter().cloned().partition(|action| stays(&action.id));
            (selected.blocked_actions, selected.actions) = (blocked, actions);
            selected.wish = Wish::Apply;
        }
        supersede(&mut mitigations, ledger);
        Some(Selection { mitigations })
    }
}

/// Decides. `targets` are this server's; `now` is read once a cycle.
pub fn select(
    feeds: &[FeedView<'_>],
    targets: &[TargetView],
    facts: &Facts,
    policy: &Policy,
    ledger: &Ledger,
    now: Timestamp,
) -> Selection {
    let context = Context { targets, facts, policy, now };
    let mut mitigations: Vec<Selected> =
        candidates(feeds, ledger, now).into_iter().map(|candidate| context.judge(candidate)).collect();
    supersede(&mut mitigations, ledger);
    mitigations.sort_by(|a, b| a.key.cmp(&b.key));
    Selection { mitigations }
}

struct Context<'a> {
    targets: &'a [TargetView],
    facts: &'a Facts,
    policy: &'a Policy,
    now: Timestamp,
}

impl Context<'_> {
    fn judge(&self, candidate: Candidate) -> Selected {
        let concern = self.concern(&candidate);
        let verdict = self.verdict(&candidate, &concern);
        let mut fixed_since = None;
        let wish = match &verdict {
            // The operator's word wins, whatever else holds the mitigation where it is.
            _ if self.taken_off(&candidate) => Wish::TakeOff,
            // Whoever works on the server just now is not surprised by anything else.
            _ if self.paused().is_some() => {
                let fixed = matches!(verdict, Verdict::NotApplicable { unknown: false, .. });
                fixed_since = fixed.then(|| candidate.fixed_since.unwrap_or(self.now));
                Wish::Keep
            }
            // So does the publisher's end of it: a recall waits for no soak and for no readable fact.
            _ if self.ended(&candidate).is_some() => Wish::TakeOff,
            Verdict::Applies(_) => Wish::Apply,
            Verdict::NotApplicable { unknown: false, .. } => {
                fixed_since = Some(candidate.fixed_since.unwrap_or(self.now));
                self.leaving(candidate.fixed_since)
            }
            Verdict::Unsupported(_)
            | Verdict::NotApplicable { unknown: true, .. }
            | Verdict::Withdrawn(_)
            | Verdict::Expired(_)
            | Verdict::Blocked(..)
            | Verdict::Disabled(_)
            | Verdict::Frozen(_)
            | Verdict::AwaitingApproval { .. }
            | Verdict::Scheduled(_)
            | Verdict::Capped(_) => Wish::Keep,
        };
        let (actions, blocked_actions, held_stops) = self.split_actions(&candidate);
        Selected {
            key: candidate.key,
            digest: candidate.digest,
            trusted_at: candidate.trusted_at,
            verdict,
            wish,
            actions,
            blocked_actions,
            held_stops,
            roles: self
                .targets
                .iter()
                .filter(|target| concern.targets.contains(&target.name))
                .map(|target| (target.name.clone(), target.sites.clone()))
                .collect(),
            targets: concern.targets,
            unsure: concern.unsure,
            superseded_by: None,
            fixed_since,
            vanished: candidate.vanished,
            since: candidate.since,
            observe: candidate.observe.unwrap_or(self.policy.observe),
            mitigation: candidate.mitigation,
        }
    }

    /// The actions to render; those that are only kept; and which of these wait for a place. An action that is
    /// blocked and taken off is none of it.
    fn split_actions(&self, candidate: &Candidate) -> (Vec<Action>, Vec<Action>, BTreeSet<Id>) {
        let feed = &candidate.key.feed;
        let held = self.stops_held(candidate).is_some();
        let (mut wanted, mut kept, mut waits) = (Vec::new(), Vec::new(), BTreeSet::new());
        for action in &candidate.mitigation.actions {
            match self.policy.action_block(feed, &action.id, self.now) {
                None if held && stops::is_stop(&action.kind) => {
                    waits.insert(action.id.clone());
                    kept.push(action.clone());
                }
                None => wanted.push(action.clone()),
                Some(block) if !block.take_off => kept.push(action.clone()),
                Some(_) => {}
            }
        }
        (wanted, kept, waits)
    }

    fn verdict(&self, candidate: &Candidate, concern: &Concern) -> Verdict {
        if let Some(why) = unsupported(candidate).or_else(|| concern.unsupported.clone()) {
            return Verdict::Unsupported(why);
        }
        if let Some(why) = &concern.not_applicable {
            return Verdict::NotApplicable { why: why.clone(), unknown: concern.unknown };
        }
        if let Some(end) = self.ended(candidate) {
            return end;
        }
        if let Some(block) = self.block(candidate) {
            return block;
        }
        if let Some(level) = self.policy.disabled_by() {
            return Verdict::Disabled(level);
        }
        if let Some(until) = self.paused() {
            return Verdict::Frozen(until);
        }
        // What is in force waits neither for a word nor for its turn again.
        if !candidate.in_ledger {
            if let Some(waits) = self.awaits_approval(candidate) {
                return waits;
            }
            if let Some(turn) = self.turn(candidate).filter(|turn| self.now < *turn) {
                return Verdict::Scheduled(turn);
            }
        }
        match self.capped(candidate) {
            Some(why) => Verdict::Capped(why.to_owned()),
            None => Verdict::Applies(concern.why.clone()),
        }
    }

    /// Why it waits as a whole: all that it has to place would stop something. Of one that also has rules, only the
    /// stops wait.
    fn capped(&self, candidate: &Candidate) -> Option<&str> {
        let why = self.stops_held(candidate)?;
        let mut placed =
            candidate.mitigation.actions.iter().filter(|action| action.kind != ActionKind::DoNothing);
        let all = placed.clone().next().is_some() && placed.all(|action| stops::is_stop(&action.kind));
        all.then_some(why)
    }

    /// Why nothing of it may be stopped.
    fn stops_held(&self, candidate: &Candidate) -> Option<&str> {
        let jumps = self.policy.now.iter().any(|id| id.covers(&candidate.key.id));
        self.policy.stops_held.as_deref().filter(|_| !jumps)
    }

    fn paused(&self) -> Option<Timestamp> {
        self.policy.paused_until.filter(|until| self.now < *until)
    }

    /// One that changes nothing needs nobody's word.
    fn awaits_approval(&self, candidate: &Candidate) -> Option<Verdict> {
        let approval = candidate.approval.unwrap_or(self.policy.approval);
        if approval == Approval::Automatic || placed(&candidate.mitigation.actions).next().is_none() {
            return None;
        }
        let approved = self.policy.approved(&candidate.key, &candidate.digest);
        let name = candidate.key.to_string();
        match approved {
            Some(approved) if approved.digest == candidate.digest => None,
            earlier => Some(Verdict::AwaitingApproval { name, earlier: earlier.cloned() }),
        }
    }

    /// The later of the publisher's wave and the organization's ring, and from then on the first moment in a
    /// maintenance window; `None`: at once.
    fn turn(&self, candidate: &Candidate) -> Option<Timestamp> {
        let critical = candidate.mitigation.severity == Some(Severity::Critical);
        let jumps = self.policy.now.iter().any(|id| id.covers(&candidate.key.id));
        if jumps || (critical && self.policy.critical_at_once) {
            return None;
        }
        let (since, server) = (candidate.since, self.policy.server_id.as_str());
        let wave = wave::turn(&candidate.mitigation.rollout, since, server, &candidate.key);
        let turn = wave.max(wave::ring(&self.policy.rings, since, server));
        if self.policy.windows.is_empty() {
            return turn;
        }
        let from = turn.map_or(self.now, |turn| turn.max(self.now));
        Some(window::first_open(&self.policy.windows, from))
    }

    /// Recalled by the publisher, or past its own end.
    fn ended(&self, candidate: &Candidate) -> Option<Verdict> {
        if let Some(why) = &candidate.withdrawn {
            return Some(Verdict::Withdrawn(why.clone()));
        }
        candidate.mitigation.expires.filter(|end| *end <= self.now).map(Verdict::Expired)
    }

    /// A block of the whole, or of every action one by one.
    fn block(&self, candidate: &Candidate) -> Option<Verdict> {
        if let Some(block) = self.policy.block_of(&candidate.key, self.now) {
            return Some(Verdict::Blocked(block.level, block.reason.clone()));
        }
        let mut blocks = candidate
            .mitigation
            .actions
            .iter()
            .map(|action| self.policy.action_block(&candidate.key.feed, &action.id, self.now));
        let first = blocks.next()??;
        blocks.all(|block| block.is_some()).then(|| Verdict::Blocked(first.level, first.reason.clone()))
    }

    fn taken_off(&self, candidate: &Candidate) -> bool {
        self.policy.block_of(&candidate.key, self.now).is_some_and(|block| block.take_off)
    }

    /// The fix is in: the mitigation leaves after the soak, unless a person is to do it.
    fn leaving(&self, fixed_since: Option<Timestamp>) -> Wish {
        let soak = SignedDuration::from_secs(i64::try_from(self.policy.soak_seconds).unwrap_or(i64::MAX));
        let soaked = self.now.duration_since(fixed_since.unwrap_or(self.now)) >= soak;
        match self.policy.removal {
            Removal::Automatic if soaked => Wish::TakeOff,
            Removal::Automatic | Removal::Manual => Wish::Keep,
        }
    }

    /// Which targets a mitigation concerns. One without rules to place concerns the server itself.
    fn concern(&self, candidate: &Candidate) -> Concern {
        let mitigation = &candidate.mitigation;
        let types: BTreeSet<ActionType> = placed(&mitigation.actions).collect();
        let judge = |facts: &Facts| applicability::judge(mitigation.applicability.as_ref(), facts);
        if types.is_empty() {
            return Concern::of_server(judge(self.facts), candidate.unknown_applies);
        }
        let judged: Vec<(&TargetView, Applicability)> = self
            .targets
            .iter()
            .filter(|target| target.takes.iter().any(|one| types.contains(one)))
            .map(|target| (target, judge(&target.facts)))
            .collect();
        Concern::of_targets(&judged, mitigation, &types, candidate.unknown_applies)
    }
}

/// Which targets, or why none.
#[derive(Default)]
struct Concern {
    targets: BTreeSet<String>,
    unsure: BTreeSet<String>,
    why: String,
    not_applicable: Option<String>,
    unknown: bool,
    unsupported: Option<String>,
}

impl Concern {
    fn of_server(judged: Applicability, unknown_applies: bool) -> Concern {
        match judged {
            Applicability::Holds(why) => Concern { why, ..Concern::default() },
            Applicability::Unknown(why) if unknown_applies => Concern { why, ..Concern::default() },
            Applicability::Unknown(why) => {
                Concern { not_applicable: Some(why), unknown: true, ..Concern::default() }
            }
            Applicability::DoesNotHold(why) => Concern { not_applicable: Some(why), ..Concern::default() },
            Applicability::Unsupported(why) => Concern { unsupported: Some(why), ..Concern::default() },
        }
    }

    fn of_targets(
        judged: &[(&TargetView, Applicability)],
        mitigation: &Mitigation,
        types: &BTreeSet<ActionType>,
        unknown_applies: bool,
    ) -> Concern {
        let mut concern = Concern::default();
        let mut whys: Vec<String> = Vec::new();
        for (target, answer) in judged {
            let one = Concern::of_server(answer.clone(), unknown_applies);
            if one.unknown {
                concern.unknown = true;
                concern.unsure.insert(target.name.clone());
            }
            if let Some(why) = one.unsupported {
                concern.unsupported.get_or_insert(why);
            } else if let Some(why) = one.not_applicable {
                whys.push(why);
            } else if let Some(why) = site_missing(target, mitigation) {
                whys.push(why);
            } else {
                concern.targets.insert(target.name.clone());
                concern.why = one.why;
            }
        }
        if !concern.targets.is_empty() {
            concern.unsupported = None;
            concern.unknown = false;
        } else if judged.is_empty() {
            let types: Vec<String> = types.iter().map(|one| format!("{one:?}")).collect();
            concern.not_applicable =
                Some(format!("no target on this server takes actions of type {}", types.join(" or ")));
        } else {
            whys.dedup();
            concern.not_applicable = Some(whys.join("; "));
        }
        concern
    }
}

/// A site that the mitigation names and this target does not have.
fn site_missing(target: &TargetView, mitigation: &Mitigation) -> Option<String> {
    let here: Vec<&Action> = mitigation
        .actions
        .iter()
        .filter(|action| target.takes.contains(&action.kind.action_type()))
        .collect();
    let mut named = here.iter().filter_map(|action| action.target.as_deref()).peekable();
    named.peek()?;
    let missing: Vec<&str> = named.filter(|site| !target.sites.contains_key(*site)).collect();
    // One site that exists here suffices.
    let unnamed = here.iter().any(|action| action.target.is_none());
    let all_missing = missing.len() == here.iter().filter(|action| action.target.is_some()).count();
    (all_missing && !unnamed).then(|| {
        format!(
            "no site of target {} plays `{}`: name its sites in `sites` of that [[target]]",
            target.name,
            missing.first().copied().unwrap_or_default()
        )
    })
}

/// The types of actions that have a target to be placed on.
fn placed(actions: &[Action]) -> impl Iterator<Item = ActionType> {
    let types = actions.iter().map(|action| action.kind.action_type());
    types.filter(|one| *one != ActionType::DoNothing)
}

fn unsupported(candidate: &Candidate) -> Option<String> {
    let mitigation = &candidate.mitigation;
    if let Some(first) = mitigation.unsupported.first() {
        return Some(first.clone());
    }
    mitigation.actions.iter().find_map(|action| {
        let action_type = action.kind.action_type();
        let allowed = action_type == ActionType::DoNothing || candidate.allow.contains(&action_type);
        (!allowed).then(|| format!("{}: this feed may not bring {action_type:?} actions here", action.id))
    })
}

/// The new in, the old out, in one step: only once the new one applies wherever the old one is held,
/// and did no harm there.
fn supersede(mitigations: &mut [Selected], ledger: &Ledger) {
    let replaced: Vec<(Key, Key)> = mitigations
        .iter()
        .filter(|new| new.wish == Wish::Apply && ledger.harmed(&new.key, &new.digest).is_none())
        .filter_map(|new| {
            let old = Key { feed: new.key.feed.clone(), id: new.mitigation.supersedes.clone()? };
            let covered = ledger.holding(&old).all(|target| new.targets.contains(target));
            (covered && old != new.key).then(|| (old, new.key.clone()))
        })
        .collect();
    for selected in mitigations.iter_mut() {
        // What is taken off for a reason of its own does not wait until its successor can be put on.
        let leaves = selected.wish == Wish::TakeOff;
        if let Some((_, by)) = replaced.iter().find(|(old, _)| *old == selected.key && !leaves) {
            selected.verdict =
                Verdict::NotApplicable { why: format!("superseded by {}", by.id), unknown: false };
            selected.wish = Wish::TakeOff;
            selected.superseded_by = Some(by.clone());
        }
    }
}

#[cfg(test)]
mod tests;
