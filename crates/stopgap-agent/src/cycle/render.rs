//! Rendering: what each target becomes, with what it cannot express set back.

use std::collections::BTreeSet;

use stopgap_core::observed::Observed;
use stopgap_core::plan::{ActionRef, Rendered, Wanted};
use stopgap_core::select::{Selected, Selection, Wish};
use stopgap_drivers::Driver;
use stopgap_feed::Key;

use super::clash::clashes;
use super::{Cycle, Target, want};

/// What one target becomes.
pub(super) struct Rendering {
    /// The target's place in [`super::Input::targets`].
    pub target: usize,
    pub wanted: Vec<Wanted>,
    pub rendered: Rendered,
}

impl Cycle<'_> {
    /// What each target becomes. What a target cannot express is a failure of that mitigation alone.
    pub(super) fn render(&mut self, selection: &Selection, observed: &[Observed]) -> Vec<Rendering> {
        let mut renderings = Vec::new();
        for (index, target) in self.input.targets.iter().enumerate() {
            let name = target.driver.target();
            let Some(observed) = observed.iter().find(|observed| observed.target == name) else { continue };
            if self.untouchable.iter().any(|untouchable| untouchable == name) {
                self.fail_all(selection, name);
                continue;
            }
            let mut rendering = self.render_one_by_one(index, target, selection, observed);
            if self.paused() || self.contested.iter().any(|contested| contested == name) {
                let held = self.ledger.targets.get(name).is_some_and(|left| !left.holds.is_empty());
                rendering = match take_off_only(rendering, target.driver.as_ref(), observed, held) {
                    Some(rendering) => rendering,
                    None => continue,
                };
            }
            if let Some(change) = &rendering.rendered.change {
                self.warnings.extend(clashes(&rendering.wanted, change));
            }
            renderings.push(rendering);
        }
        for selected in &selection.mitigations {
            if selected.wish == Wish::Apply
                && let Some(failure) = self.ledger.harmed(&selected.key, &selected.digest)
            {
                let hint = format!("`stopgap retry {}` tries it again", selected.key.id);
                self.failures.insert(selected.key.clone(), format!("{}; {hint}", failure.why));
            }
        }
        renderings
    }

    /// Mitigations of which one may have killed the agent, the one that waited longest first.
    pub(super) fn suspects<'s>(&self, selection: &'s Selection) -> impl Iterator<Item = &'s Key> {
        let mut suspects: Vec<&Selected> = selection
            .mitigations
            .iter()
            .filter(|s| s.wish == Wish::Apply && self.ledger.suspect(&s.key, &s.digest))
            .collect();
        suspects.sort_by_key(|s| self.ledger.failures.get(&s.key).map(|failure| failure.at));
        suspects.into_iter().map(|selected| &selected.key)
    }

    /// One target. Suspects come last, and one in a change.
    fn render_one_by_one(
        &mut self,
        index: usize,
        target: &Target,
        selection: &Selection,
        observed: &Observed,
    ) -> Rendering {
        let suspects: Vec<Key> = self.suspects(selection).cloned().collect();
        let without =
            self.render_target(index, target, selection, observed, suspects.iter().cloned().collect());
        match suspects.split_first() {
            Some((_, others)) if without.rendered.change.is_none() => {
                self.render_target(index, target, selection, observed, others.iter().cloned().collect())
            }
            _ => without,
        }
    }

    /// One target, with `set_back` not put on. What cannot be put on there leaves in force what it would replace.
    fn render_target(
        &mut self,
        index: usize,
        target: &Target,
        selection: &Selection,
        observed: &Observed,
        mut set_back: BTreeSet<Key>,
    ) -> Rendering {
        let (driver, takes) = (target.driver.as_ref(), target.view.takes);
        loop {
            let wanted = want::wanted(selection, &self.ledger, observed, takes, &set_back);
            let (wanted, unseen) = observable(wanted, driver);
            let looked = driver.look(self.input.host, &wanted, observed);
            let mut rendered = driver.render(&wanted, looked.as_ref().unwrap_or(observed));
            rendered.refused.extend(unseen);
            let known = set_back.len();
            for (what, why) in &rendered.refused {
                let why = format!("{} cannot express {}: {why}", observed.target, what.action);
                self.failures.entry(what.key.clone()).or_insert(why);
                if want::replaces(selection, &what.key, observed, &self.ledger) {
                    set_back.insert(what.key.clone());
                }
            }
            if set_back.len() == known {
                return Rendering { target: index, wanted, rendered };
            }
        }
    }

    /// Nothing can be put on a target that cannot be observed.
    fn fail_all(&mut self, selection: &Selection, target: &str) {
        for selected in &selection.mitigations {
            if selected.wish == Wish::Apply && selected.targets.contains(target) {
                let why = format!("{target} could not be observed or changed; the log says why");
                self.failures.entry(selected.key.clone()).or_insert(why);
            }
        }
    }
}

/// What is to be observed where nothing can be is not wanted there: it may not refuse. With what is to be said.
pub(super) fn observable(
    wanted: Vec<Wanted>,
    driver: &dyn Driver,
) -> (Vec<Wanted>, Vec<(ActionRef, String)>) {
    let Some(why) = driver.cannot_observe() else { return (wanted, Vec::new()) };
    let (unseen, wanted): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|wanted| wanted.observe);
    let what = |wanted: Wanted| ActionRef { key: wanted.key, action: wanted.action.id };
    let refused = unseen.into_iter().map(|one| (what(one), format!("it is to be observed: {why}")));
    (wanted, refused.collect())
}

/// On a target that we gave up nothing is put on and nothing is repaired; what is to leave leaves. A set that
/// somebody edited does not say what it holds: it goes whole, where nothing is to stay of what we left (`left`).
fn take_off_only(
    rendering: Rendering,
    driver: &dyn Driver,
    observed: &Observed,
    left: bool,
) -> Option<Rendering> {
    let all = left && rendering.wanted.is_empty();
    let held = |wanted: &Wanted| {
        let mut holds = observed.live.holds.iter();
        holds.any(|h| h.key == wanted.key && h.action == wanted.action.id && h.digest == wanted.digest)
    };
    let wanted: Vec<Wanted> = rendering.wanted.into_iter().filter(held).collect();
    let rendered = driver.render(&wanted, observed);
    let change = rendered.change.as_ref().filter(|change| change.puts_on.is_empty());
    let takes_off =
        change.is_some_and(|change| !change.takes_off.is_empty() || (all && change.after.is_none()));
    takes_off.then_some(Rendering { wanted, rendered, ..rendering })
}
