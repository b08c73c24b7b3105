//! One word for tables, from what should be and what is.

use std::collections::BTreeSet;

use super::{PlaceReport, Status};
use crate::observed::{Hook, Observed, lack_at};
use crate::proof::Proof;
use crate::select::Verdict;

/// One word, and its reason where the verdict has none.
pub(super) fn status(
    verdict: &Verdict,
    in_force: bool,
    heartbeat: bool,
    places: &[&PlaceReport],
    observed: &[Observed],
) -> (Status, Option<String>) {
    let held_back = match verdict {
        Verdict::Applies(_) => None,
        Verdict::Unsupported(_) => Some(Status::Unsupported),
        Verdict::NotApplicable { unknown: true, .. } => Some(Status::Unknown),
        Verdict::NotApplicable { .. } => Some(Status::NotApplicable),
        Verdict::Withdrawn(_) => Some(Status::Withdrawn),
        Verdict::Expired(_) => Some(Status::Expired),
        Verdict::Blocked(..) => Some(Status::Blocked),
        Verdict::Disabled(_) => Some(Status::Disabled),
        Verdict::Frozen(_) => Some(Status::Frozen),
        Verdict::AwaitingApproval { .. } => Some(Status::AwaitingApproval),
        Verdict::Scheduled(_) | Verdict::Capped(_) => Some(Status::Scheduled),
    };
    if let Some(status) = held_back {
        return (status, None);
    }
    if !in_force && let Some(observing) = observing(places) {
        return (Status::Observing, Some(observing));
    }
    if !in_force {
        let why = places.iter().find_map(|place| place.why.clone());
        return match why {
            Some(why) => (Status::Failed, Some(why)),
            None => (Status::Scheduled, Some("it is put on in the next cycle".into())),
        };
    }
    if heartbeat {
        return (Status::Applied, None);
    }
    if let Some(place) = places.iter().find(|place| place.in_force && place.proof == Proof::Ineffective) {
        return (Status::Ineffective, place.why.clone());
    }
    partial(places, observed).or_else(|| unproven(places)).unwrap_or((Status::Applied, None))
}

/// Where rules log what they would refuse, and refuse nothing.
fn observing(places: &[&PlaceReport]) -> Option<String> {
    let here = sites(places, |place| place.observing);
    let names: Vec<&str> = here.iter().map(|(_, site)| *site).collect();
    (!names.is_empty()).then(|| {
        format!("it logs what it would refuse on {}, and refuses nothing: observe = true", names.join(", "))
    })
}

/// A target's name and a site's.
type SiteName<'a> = (&'a str, &'a str);

fn sites<'a>(places: &[&'a PlaceReport], which: impl Fn(&PlaceReport) -> bool) -> BTreeSet<SiteName<'a>> {
    places
        .iter()
        .filter(|place| which(place))
        .map(|place| (place.target.as_str(), place.site.as_str()))
        .collect()
}

/// Some sites are not covered: how many, which, and what is missing there.
fn partial(places: &[&PlaceReport], observed: &[Observed]) -> Option<(Status, Option<String>)> {
    let all = sites(places, |_| true);
    let covered = sites(places, |place| place.in_force);
    let without: Vec<&str> = all.difference(&covered).map(|(_, site)| *site).collect();
    if without.is_empty() {
        return None;
    }
    let missing = observed
        .iter()
        .flat_map(|target| &target.sites)
        .find_map(|site| match &site.hook {
            Hook::Missing(what) if without.contains(&site.name.as_str()) => Some(what.clone()),
            _ => None,
        })
        .or_else(|| {
            let lacks = observed.iter().map(|target| &target.lacks);
            lacks.flat_map(|lacks| without.iter().find_map(|site| lacks.get(&lack_at(site)))).next().cloned()
        })
        .map(|what| format!(" ({what})"))
        .unwrap_or_default();
    let reason = format!("{} of {} sites; not on {}{missing}", covered.len(), all.len(), without.join(", "));
    Some((Status::Partial, Some(reason)))
}

/// In force on a site where no listener has shown it.
fn unproven(places: &[&PlaceReport]) -> Option<(Status, Option<String>)> {
    let proven = sites(places, |place| place.proof == Proof::Proven);
    let place = places.iter().find(|p| !proven.contains(&(p.target.as_str(), p.site.as_str())))?;
    let why = place.why.clone().unwrap_or_else(|| format!("no probe has shown it on {}", place.site));
    Some((Status::Unproven, Some(why)))
}
