//! What is wanted on a target: what applies, and what is kept as it is.

use stopgap_core::Ledger;
use stopgap_core::observed::{Hold, Observed};
use stopgap_core::plan::Wanted;
use stopgap_core::select::{Selected, Selection, Verdict, Wish};
use stopgap_feed::Id;
use stopgap_feed::document::{Action, ActionKind};

/// Every action that the target should hold, in the order of the mitigations.
pub(super) fn wanted(selection: &Selection, ledger: &Ledger, observed: &Observed) -> Vec<Wanted> {
    let target = observed.target.as_str();
    let mut wanted = Vec::new();
    for selected in &selection.mitigations {
        let concerned = selected.targets.contains(target);
        let harmed = ledger.harmed(&selected.key, &selected.digest).is_some();
        let kept = match selected.wish {
            Wish::Apply if !concerned => continue,
            Wish::Apply if !harmed => {
                wanted.extend(rules(&selected.actions).map(|action| want(selected, action, target)));
                Kept::Blocked
            }
            // What harmed was taken back. What it was to replace stays.
            Wish::Apply | Wish::Keep => Kept::Everything,
            Wish::TakeOff => continue,
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
fn keep(selected: &Selected, hold: &Hold, ledger: &Ledger) -> Option<Wanted> {
    let mitigation = if selected.digest == hold.digest {
        selected.mitigation.clone()
    } else {
        ledger.mitigations.get(&selected.key)?.revision(&hold.digest)?
    };
    Some(Wanted {
        key: selected.key.clone(),
        digest: hold.digest.clone(),
        action: rules(&mitigation.actions).find(|action| action.id == hold.action)?.clone(),
        probes: mitigation.probes,
        sites: Some(hold.sites.clone()),
    })
}
