//! What is wanted on a target: what applies, and what is kept as it is.

use std::collections::BTreeSet;

use stopgap_core::Ledger;
use stopgap_core::observed::{Hold, Observed};
use stopgap_core::plan::Wanted;
use stopgap_core::select::{Selected, Selection, Verdict, Wish};
use stopgap_feed::document::{Action, ActionType};
use stopgap_feed::{Id, Key};

/// Every action that the target should hold, in the order of the mitigations. What is `set_back`
/// cannot be put on there; what it would replace stays.
pub(super) fn wanted(
    selection: &Selection,
    ledger: &Ledger,
    observed: &Observed,
    takes: &[ActionType],
    set_back: &BTreeSet<Key>,
) -> Vec<Wanted> {
    let target = observed.target.as_str();
    let mut wanted = Vec::new();
    for selected in &selection.mitigations {
        let concerned = selected.targets.contains(target);
        let harmed = ledger.harmed(&selected.key, &selected.digest).is_some();
        let stays = harmed || set_back.contains(&selected.key);
        let replaced = selected.superseded_by.as_ref().is_none_or(|by| !set_back.contains(by));
        let kept = match selected.wish {
            Wish::Apply if !concerned && !selected.unsure.contains(target) => continue,
            Wish::Apply if concerned && !stays => {
                wanted.extend(of(takes, &selected.actions).map(|action| want(selected, action, target)));
                Kept::Blocked
            }
            // What harmed, or cannot be put on, replaces nothing.
            Wish::Apply | Wish::Keep => Kept::Everything,
            Wish::TakeOff if replaced => continue,
            Wish::TakeOff => Kept::Everything,
        };
        let holds = holds_to_keep(selected, ledger, observed);
        let kept = holds.iter().filter(|hold| hold.key == selected.key && kept.holds(selected, &hold.action));
        wanted.extend(kept.filter_map(|hold| keep(selected, hold, ledger)));
    }
    wanted
}

/// Which actions of a mitigation stay as they are in force.
#[derive(Clone, Copy)]
enum Kept {
    /// Those that are blocked one by one.
    Blocked,
    /// All, but for those that the operator takes off one by one.
    Everything,
}

impl Kept {
    fn holds(self, selected: &Selected, action: &Id) -> bool {
        let among = |actions: &[Action]| actions.iter().any(|one| one.id == *action);
        let blocked = among(&selected.blocked_actions);
        match self {
            Kept::Blocked => blocked,
            // An action that only an earlier revision has cannot have been taken off by name here.
            Kept::Everything => blocked || among(&selected.actions) || !among(&selected.mitigation.actions),
        }
    }
}

/// The actions that are of one of these types.
fn of<'a>(takes: &'a [ActionType], actions: &'a [Action]) -> impl Iterator<Item = &'a Action> {
    actions.iter().filter(|action| takes.contains(&action.kind.action_type()))
}

fn want(selected: &Selected, action: &Action, target: &str) -> Wanted {
    Wanted {
        key: selected.key.clone(),
        digest: selected.digest.clone(),
        action: action.clone(),
        probes: selected.mitigation.probes.clone(),
        sites: selected.sites_on(target, action.target.as_deref()),
        observe: selected.observe,
    }
}

/// What is new on a target and cannot be put on, while something that it would replace is held.
pub(super) fn replaces(selection: &Selection, key: &Key, observed: &Observed, ledger: &Ledger) -> bool {
    let Some(new) = selection.get(key) else { return false };
    let known = ledger.targets.get(&observed.target).map_or(&[][..], |entry| &entry.holds);
    let mut held = observed.live.holds.iter().chain(known);
    held.any(|hold| {
        let older = hold.key == *key && hold.digest != new.digest;
        let superseded = selection.get(&hold.key).is_some_and(|old| old.superseded_by.as_ref() == Some(key));
        older || superseded
    })
}

/// A blocked rule that somebody took off stays off. What was only edited, what waits, and what is
/// about to leave is repaired like the rest.
fn holds_to_keep<'a>(selected: &Selected, ledger: &'a Ledger, observed: &'a Observed) -> &'a [Hold] {
    let live = &observed.live;
    let Some(left) = ledger.targets.get(&observed.target) else { return &live.holds };
    match selected.verdict {
        Verdict::Blocked(..) | Verdict::Disabled(_) if live.set != left.set => &live.holds,
        _ => &left.holds,
    }
}

/// The action as it is in force: in the revision and on the sites that it was put on with.
fn keep(selected: &Selected, hold: &Hold, ledger: &Ledger) -> Option<Wanted> {
    let mitigation = if selected.digest == hold.digest {
        selected.mitigation.clone()
    } else {
        ledger.mitigations.get(&selected.key)?.revision(&hold.digest)?
    };
    Some(Wanted {
        key: selected.key.clone(),
        digest: hold.digest.clone(),
        action: mitigation.actions.iter().find(|action| action.id == hold.action)?.clone(),
        probes: mitigation.probes,
        sites: Some(hold.sites.clone()),
        observe: hold.observe,
    })
}
