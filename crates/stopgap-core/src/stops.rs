//! What takes something out of service, and how many servers of an organization may have something stopped: the words
//! of a cap, decided from who holds a place. Who is asked, and who keeps the places, is not here.

use std::collections::BTreeSet;

use stopgap_feed::Key;
use stopgap_feed::document::ActionKind;

use crate::plan::Plan;
use crate::report::Report;
use crate::select::{Selection, Verdict};

/// Names that a reason tells; of more, how many.
const NAMED: usize = 5;

/// Whether an action stops a service or a pool.
pub fn is_stop(kind: &ActionKind) -> bool {
    matches!(kind, ActionKind::Service { .. } | ActionKind::AppPool { .. })
}

/// What would newly be stopped, by the plan or but for a cap: mitigations as `feed:id`, each once, in order.
pub fn wanted(plan: &Plan, selection: &Selection) -> Vec<String> {
    let puts_on = plan.changes.iter().flat_map(|change| &change.puts_on);
    let planned = puts_on.filter(|what| {
        let actions = selection.get(&what.key).map(|selected| &selected.mitigation.actions);
        actions.into_iter().flatten().any(|action| action.id == what.action && is_stop(&action.kind))
    });
    let waits = selection.mitigations.iter().filter(|selected| match selected.verdict {
        Verdict::Capped(_) => true,
        Verdict::Applies(_) => !selected.held_stops.is_empty(),
        _ => false,
    });
    let keys: BTreeSet<&Key> =
        planned.map(|what| &what.key).chain(waits.map(|selected| &selected.key)).collect();
    keys.into_iter().map(Key::to_string).collect()
}

/// What keeps something stopped: mitigations as `feed:id`, in the report's order.
pub fn in_force(report: &Report, selection: &Selection) -> Vec<String> {
    let stops = report.mitigations.iter().filter(|found| {
        let of_it = |key: &Key| key.feed == found.feed && key.id == found.id;
        let selected = selection.mitigations.iter().find(|selected| of_it(&selected.key));
        let actions = selected.into_iter().flat_map(|selected| &selected.mitigation.actions);
        let stops: BTreeSet<_> =
            actions.filter(|action| is_stop(&action.kind)).map(|action| &action.id).collect();
        let mut places = found.actions.iter().filter(|action| stops.contains(&action.id));
        places.any(|action| action.targets.iter().any(|place| place.in_force))
    });
    stops.map(|found| format!("{}:{}", found.feed, found.id)).collect()
}

/// Why one more server may stop nothing; `None`: it may. `whose`: whose cap it is (`group web`, `the organization`);
/// `others`: names of the servers beside it that have something stopped, or are about to stop it.
pub fn held(whose: &str, most: u32, others: &[&str]) -> Option<String> {
    let count = others.len();
    if count < usize::try_from(most.max(1)).unwrap_or(usize::MAX) {
        return None;
    }
    let named = others.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = count.checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let (servers, have) = if count == 1 { ("server", "has") } else { ("servers", "have") };
    Some(format!("cap of {whose}: {count} of {most} {servers} {have} something stopped ({named}{more})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_and_one_more_waits() {
        for (most, others, expected) in [
            (1, &[][..], None),
            (1, &["mail1"], Some("cap of group web: 1 of 1 server has something stopped (mail1)")),
            (2, &["mail1"], None),
            (
                2,
                &["mail1", "mail3"],
                Some("cap of group web: 2 of 2 servers have something stopped (mail1, mail3)"),
            ),
            // A cap that was lowered, or a server that was exempt when it stopped something.
            (
                1,
                &["a", "b", "c", "d", "e", "f", "g"],
                Some("cap of group web: 7 of 1 servers have something stopped (a, b, c, d, e and 2 more)"),
            ),
        ] {
            assert_eq!(held("group web", most, others).as_deref(), expected, "{most} {others:?}");
        }
    }
}
