//! What is wanted on a target: what applies, and what is kept as it is.

use stopgap_core::Ledger;
use stopgap_core::observed::{Hold, Observed};
use stopgap_core::plan::Wanted;
use stopgap_core::select::{Selected, Selection, Verdict, Wish};
use stopgap_feed::document::{Action, ActionKind, Mitigation};

/// Every action that the target should hold, in the order of the mitigations.
pub(super) fn wanted(selection: &Selection, ledger: &Ledger, observed: &Observed) -> Vec<Wanted> {
    let target = observed.target.as_str();
    let mut wanted = Vec::new();
    for selected in &selection.mitigations {
        let applies = selected.wish == Wish::Apply
            && selected.targets.contains(target)
            && ledger.harmed(&selected.key, &selected.digest).is_none();
        if applies {
            wanted.extend(rules(&selected.actions).map(|action| want(selected, action, target)));
        }
        let kept: &[Action] = match selected.wish {
            Wish::Apply if applies => &selected.blocked_actions,
            Wish::Keep => &selected.mitigation.actions,
            Wish::Apply | Wish::TakeOff => &[],
        };
        let holds = holds_to_keep(selected, ledger, observed);
        wanted.extend(rules(kept).filter_map(|action| keep(selected, action, holds, ledger)));
    }
    wanted
}

fn rules(actions: &[Action]) -> impl Iterator<Item = &Action> {
    actions.iter().filter(|action| matches!(action.kind, ActionKind::UrlRewrite { .. }))
}

fn want(selected: &Selected, action: &Action, target: &str) -> Wanted {
    Wanted {
        key: selected.key.clone(),
        digest: selected.digest.clone(),
        action: action.clone(),
        probes: selected.mitigation.probes.clone(),
        sites: selected.sites_on(target, action.target.as_deref()),
    }
}

/// A blocked rule that somebody took off stays off. What only waits, or is about to leave, is
/// repaired like the rest.
fn holds_to_keep<'a>(selected: &Selected, ledger: &'a Ledger, observed: &'a Observed) -> &'a [Hold] {
    match selected.verdict {
        Verdict::Blocked(..) | Verdict::Disabled(_) => &observed.live.holds,
        _ => ledger.targets.get(&observed.target).map_or(&observed.live.holds, |entry| &entry.holds),
    }
}

/// The action as it is in force: in the revision and on the sites that it was put on with.
fn keep(selected: &Selected, action: &Action, holds: &[Hold], ledger: &Ledger) -> Option<Wanted> {
    let hold = holds.iter().find(|hold| hold.key == selected.key && hold.action == action.id)?;
    let (mitigation, digest) = in_force(selected, hold, ledger)?;
    Some(Wanted {
        key: selected.key.clone(),
        digest,
        action: mitigation.actions.iter().find(|a| a.id == action.id)?.clone(),
        probes: mitigation.probes,
        sites: Some(hold.sites.clone()),
    })
}

fn in_force(selected: &Selected, hold: &Hold, ledger: &Ledger) -> Option<(Mitigation, String)> {
    if selected.digest == hold.digest {
        return Some((selected.mitigation.clone(), selected.digest.clone()));
    }
    let entry = ledger.mitigations.get(&selected.key)?;
    Some((entry.mitigation().ok()?, entry.digest.clone()))
}
