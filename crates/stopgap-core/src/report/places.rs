//! Where an action is or should be: target, site, listener.

use stopgap_feed::Id;
use stopgap_feed::document::{Action, ActionKind};

use super::PlaceReport;
use crate::ledger::{Entry, ProofRecord};
use crate::observed::{Hook, Observed, Site};
use crate::proof::Proof;
use crate::select::Selected;

/// Every listener of every site where the action is, or should be.
pub(super) fn places(
    selected: &Selected,
    action: &Action,
    observed: &[Observed],
    entry: Option<&Entry>,
) -> Vec<PlaceReport> {
    let (is_switch, role) = (
        matches!(action.kind, ActionKind::Service { .. } | ActionKind::AppPool { .. }),
        action.target.as_deref(),
    );
    let action = &action.id;
    let mut places = Vec::new();
    for target in observed {
        let of_it = || target.live.holds.iter().filter(|h| h.key == selected.key && h.action == *action);
        let held: Vec<&String> = of_it().flat_map(|hold| &hold.sites).collect();
        let observed = of_it().any(|hold| hold.observe);
        let concerned = selected.targets.contains(&target.target);
        for site in &target.sites {
            let wanted = concerned
                && selected.sites_on(&target.target, role).is_none_or(|sites| sites.contains(&site.name));
            let is_held = held.contains(&&site.name);
            if is_held || wanted {
                let mut here = site_places(target, site, action, is_held, entry);
                // Whether a service is out of service nobody knows better than who runs it.
                for place in here.iter_mut().filter(|place| is_switch && place.in_force) {
                    if target.live.active == Some(true) {
                        place.proof = Proof::Proven;
                    }
                }
                for place in here.iter_mut().filter(|place| observed && place.in_force) {
                    (place.in_force, place.observing) = (false, true);
                }
                places.extend(here);
            }
        }
        let gaps = target.live.gaps.iter().filter(|gap| gap.key == selected.key && gap.action == *action);
        places.extend(gaps.map(|gap| PlaceReport {
            target: target.target.clone(),
            site: gap.place.clone(),
            listener: None,
            in_force: false,
            observing: false,
            proof: Proof::Unproven,
            why: Some(gap.why.clone()),
        }));
    }
    places
}

fn site_places(
    target: &Observed,
    site: &Site,
    action: &Id,
    held: bool,
    entry: Option<&Entry>,
) -> Vec<PlaceReport> {
    let inactive = target.live.active == Some(false);
    let (in_force, missing) = match &site.hook {
        Hook::Present if inactive => {
            let found = target.live.foreign.first().cloned();
            (false, Some(found.unwrap_or_else(|| "the running server does not use this set yet".to_owned())))
        }
        Hook::Present => (held, None),
        Hook::Missing(what) => (false, Some(what.clone())),
    };
    let proof_at = |listener: &str| -> Option<&ProofRecord> {
        entry?.proofs.iter().find(|p| {
            p.target == target.target && p.site == site.name && p.listener == listener && p.action == *action
        })
    };
    let place = |listener: Option<String>| {
        let record = listener.as_deref().and_then(proof_at).filter(|_| in_force);
        PlaceReport {
            target: target.target.clone(),
            site: site.name.clone(),
            in_force,
            observing: false,
            proof: record.map_or(Proof::Unproven, |record| record.proof),
            why: missing.clone().or_else(|| record.and_then(|record| record.why.clone())),
            listener,
        }
    };
    if site.listeners.is_empty() {
        return vec![place(None)];
    }
    site.listeners.iter().map(|listener| place(Some(listener.to_string()))).collect()
}
