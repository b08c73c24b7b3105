//! What would be done for each mitigation that waits for a person's word, a time or a place: whoever lets it in sees
//! that first. Nothing is written for it, and where nothing waits nothing is computed.

use std::collections::{BTreeMap, BTreeSet};

use stopgap_core::observed::Observed;
use stopgap_core::plan::{Change, Step};
use stopgap_core::select::Selection;
use stopgap_feed::Key;

use super::render::observable;
use super::{Cycle, Target, want};

/// Of so many mitigations at most.
const MOST: usize = 32;

/// What would be done for one mitigation, on every target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prospect {
    /// In the order of the targets, as the plan has them once it is let in.
    pub steps: Vec<Step>,
    /// What could not be done there: the target, and why.
    pub cannot: Vec<(String, String)>,
}

impl Cycle<'_> {
    pub(super) fn prospects(&self, selection: &Selection, observed: &[Observed]) -> BTreeMap<Key, Prospect> {
        let waiting = selection.mitigations.iter().map(|selected| &selected.key);
        let let_in = waiting.filter_map(|key| Some((key.clone(), selection.let_in(key, &self.ledger)?)));
        let prospect = |(key, selection): (Key, Selection)| {
            let prospect = self.prospect(&key, &selection, observed);
            (key, prospect)
        };
        // What is held as it should be has nothing to be done.
        let_in.take(MOST).map(prospect).filter(|(_, prospect)| *prospect != Prospect::default()).collect()
    }

    fn prospect(&self, key: &Key, selection: &Selection, observed: &[Observed]) -> Prospect {
        let mut prospect = Prospect::default();
        let mut plan = self.plan(Vec::new());
        for target in self.input.targets {
            let name = target.driver.target();
            let concerned = selection.get(key).is_some_and(|selected| selected.targets.contains(name));
            let left_alone = self.untouchable.iter().chain(&self.contested).any(|one| one == name);
            match observed.iter().find(|observed| observed.target == name) {
                Some(observed) if concerned && !left_alone => {
                    plan.changes.extend(self.add(&mut prospect, key, selection, target, observed));
                }
                _ if concerned => {
                    let why = "nothing is changed there now; the log says why".to_owned();
                    prospect.cannot.push((name.to_owned(), why));
                }
                _ => (),
            }
        }
        prospect.steps = plan.steps();
        prospect
    }

    fn add(
        &self,
        prospect: &mut Prospect,
        key: &Key,
        selection: &Selection,
        target: &Target,
        observed: &Observed,
    ) -> Option<Change> {
        let driver = target.driver.as_ref();
        let set_back: BTreeSet<Key> = self.suspects(selection).filter(|one| *one != key).cloned().collect();
        let wanted = want::wanted(selection, &self.ledger, observed, target.view.takes, &set_back);
        let (wanted, unseen) = observable(wanted, driver);
        let looked = driver.look(self.input.host, &wanted, observed);
        let mut rendered = driver.render(&wanted, looked.as_ref().unwrap_or(observed));
        rendered.refused.extend(unseen);
        let refused = rendered.refused.into_iter().filter(|(what, _)| what.key == *key);
        prospect
            .cannot
            .extend(refused.map(|(what, why)| (observed.target.clone(), format!("{}: {why}", what.action))));
        rendered.change
    }
}
