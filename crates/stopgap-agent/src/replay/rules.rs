//! Which rules are judged by: what a cycle would leave in force, and what was observed to be in force.

use stopgap_core::Ledger;
use stopgap_core::observed::Hold;
use stopgap_core::report::MitigationReport;
use stopgap_core::select::{Selected, Wish};
use stopgap_feed::document::{Action, ActionKind};
use stopgap_feed::{Id, Key};

use super::judge::Candidate;
use crate::cycle::Done;
use crate::operator::Named;

/// An action that is in force, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// In the revision that is in force.
    pub candidate: Candidate,
    /// Targets and their sites.
    pub places: Vec<(String, String)>,
}

/// The actions that a cycle would put on or leave in force; of one mitigation all of them, whatever holds it back.
/// Those of one mitigation stand together.
pub fn planned(done: &Done, only: Option<&Named>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for selected in &done.selection.mitigations {
        let actions = match only {
            Some(named) if is(named, &selected.key) => &selected.mitigation.actions,
            Some(_) => continue,
            None if selected.wish == Wish::Apply => &selected.actions,
            None if selected.wish == Wish::Keep && is_in_force(done, selected) => {
                &selected.mitigation.actions
            }
            None => continue,
        };
        candidates.extend(actions.iter().filter_map(|action| candidate(&selected.key, action)));
    }
    candidates
}

/// The actions that were observed on a target, in the revision that the ledger has of them.
pub fn in_force(done: &Done, ledger: &Ledger) -> Vec<Held> {
    let mut found: Vec<Held> = Vec::new();
    for (target, left) in &ledger.targets {
        for hold in &left.holds {
            let places = places(done, target, hold);
            let Some(candidate) = held(ledger, hold).filter(|_| !places.is_empty()) else { continue };
            match found.iter_mut().find(|one| one.candidate == candidate) {
                Some(one) => one.places.extend(places),
                None => found.push(Held { candidate, places }),
            }
        }
    }
    found.sort_by(|a, b| {
        let order = |held: &Held| (held.candidate.key.clone(), held.candidate.action.clone());
        order(a).cmp(&order(b))
    });
    found
}

fn is(named: &Named, key: &Key) -> bool {
    named.id == key.id && named.feed.as_ref().is_none_or(|feed| *feed == key.feed)
}

fn reported<'d>(done: &'d Done, key: &Key) -> Option<&'d MitigationReport> {
    done.report.mitigations.iter().find(|report| report.feed == key.feed && report.id == key.id)
}

fn is_in_force(done: &Done, selected: &Selected) -> bool {
    reported(done, &selected.key).is_some_and(|report| report.in_force)
}

/// The sites of a target where an action was observed.
fn places(done: &Done, target: &str, hold: &Hold) -> Vec<(String, String)> {
    let actions = reported(done, &hold.key).map(|report| report.actions.as_slice()).unwrap_or_default();
    let of_it = actions.iter().filter(|action| action.id == hold.action).flat_map(|action| &action.targets);
    let mut sites: Vec<(String, String)> = of_it
        .filter(|place| place.in_force && place.target == target)
        .map(|place| (place.target.clone(), place.site.clone()))
        .collect();
    sites.dedup();
    sites
}

fn held(ledger: &Ledger, hold: &Hold) -> Option<Candidate> {
    let lost = |why: &str| Candidate {
        key: hold.key.clone(),
        action: hold.action.clone(),
        rules: Err(why.to_owned()),
    };
    let Some(mitigation) = ledger.mitigations.get(&hold.key).and_then(|entry| entry.revision(&hold.digest))
    else {
        return Some(lost("the ledger no longer has the revision that is in force"));
    };
    match mitigation.actions.iter().find(|action| action.id == hold.action) {
        Some(action) => candidate(&hold.key, action),
        None => Some(lost("the revision in the ledger has no such action")),
    }
}

/// Nothing for an action that does nothing.
fn candidate(key: &Key, action: &Action) -> Option<Candidate> {
    let rules = match &action.kind {
        ActionKind::DoNothing => return None,
        ActionKind::UrlRewrite { rewrite } => Ok(rewrite.clone()),
        ActionKind::Service { .. } => Err(stops("a service")),
        ActionKind::AppPool { .. } => Err(stops("an application pool")),
    };
    Some(Candidate { key: key.clone(), action: action.id.clone(), rules })
}

fn stops(what: &str) -> String {
    format!("stops {what}, and no request tells whether that one answers it")
}

/// For what a command prints of an action.
impl Candidate {
    /// Whether it is this action of this mitigation.
    pub fn is(&self, key: &Key, action: &Id) -> bool {
        self.key == *key && self.action == *action
    }
}
