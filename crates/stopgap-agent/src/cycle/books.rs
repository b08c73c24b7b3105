//! The books of a cycle: what goes into the ledger, the journal and the events, and when.
//!
//! The ledger knows a mitigation before it is put on, and a change's end is journaled after the
//! ledger: whatever is interrupted, its octets are here to take it off.

use std::collections::BTreeMap;

use stopgap_core::ledger::{Baseline, Entry, Known, ProofRecord};
use stopgap_core::observed::{Hold, Observed};
use stopgap_core::plan::{ActionRef, Change};
use stopgap_core::proof::Proof;
use stopgap_core::select::{Selected, Selection, Verdict, Wish};
use stopgap_feed::Key;
use stopgap_feed::document::ActionKind;

use super::evidence::Proved;
use super::execute::Outcome;
use super::{Cycle, is_heartbeat};
use crate::events::Event;
use crate::home::HomeError;
use crate::journal;

impl Cycle<'_> {
    /// The ledger knows a mitigation before it is put on, so that whatever happens its octets are
    /// here. A new revision takes the place of the one before only when it is in force.
    pub(super) fn write_ahead(&mut self, selection: &Selection) -> Result<(), HomeError> {
        for selected in selection.mitigations.iter().filter(|selected| selected.wish == Wish::Apply) {
            let heartbeat = is_heartbeat(selected);
            let known = self.ledger.mitigations.get(&selected.key).map(|entry| &entry.digest);
            if known.is_some_and(|digest| *digest == selected.digest || !heartbeat) {
                continue;
            }
            self.renew(selected);
            if heartbeat {
                let detail = "it changes nothing".to_owned();
                self.events.push(Event::Applied { key: selected.key.clone(), detail });
            }
        }
        self.save_ledger()
    }

    /// From here on this is the revision that counts.
    fn renew(&mut self, selected: &Selected) {
        let entry = self.ledger.mitigations.entry(selected.key.clone()).or_insert_with(|| Entry {
            octets: selected.mitigation.octets.clone(),
            digest: selected.digest.clone(),
            trusted_at: selected.trusted_at,
            applied_at: self.input.now,
            fixed_since: None,
            proofs: Vec::new(),
            baselines: Vec::new(),
            earlier: BTreeMap::new(),
        });
        entry.renew(&selected.mitigation.octets, &selected.digest, selected.trusted_at);
    }

    /// One change's outcome, into ledger and events; the journal's end comes last, so that a crash
    /// before it takes the change back.
    pub(super) fn record(
        &mut self,
        selection: &Selection,
        change: &Change,
        outcome: Outcome,
    ) -> Result<(), HomeError> {
        let target = change.target.clone();
        let end = match outcome {
            Outcome::Done { proofs, baselines } => {
                self.progress = true;
                self.record_done(selection, change, &proofs);
                self.record_baselines(baselines);
                journal::Event::Done { target }
            }
            Outcome::Reverted { why, harmful } => {
                self.reverted = true;
                self.events.push(Event::Reverted { detail: format!("{target}: {why}") });
                self.note_failures(selection, change, &why, &harmful);
                journal::Event::Reverted { target, why }
            }
            Outcome::Failed { why } => {
                self.fail(format!("{target}: {why}"));
                self.note_failures(selection, change, &why, &[]);
                journal::Event::Reverted { target, why }
            }
            Outcome::Stuck { why } => {
                self.unfinished = true;
                self.fail(format!("{target}: {why}"));
                journal::Event::Open { target, why }
            }
        };
        self.save_ledger()?;
        self.journal().note(self.input.now, end)
    }

    fn record_done(&mut self, selection: &Selection, change: &Change, proofs: &[Proved]) {
        let target = &change.target;
        let (set, holds) = match &change.after {
            Some(after) => (Some(after.id.clone()), after.holds.clone()),
            None => (None, Vec::new()),
        };
        self.ledger.note_left(target, set, holds);
        if let Some(entry) = self.ledger.targets.get_mut(target) {
            entry.deaths.clear();
        }
        for what in &change.puts_on {
            // What is only kept is in force in a revision that the ledger already knows.
            if let Some(selected) = selection.get(&what.key)
                && leaves(change, what, &selected.digest)
            {
                self.ledger.failures.remove(&what.key);
                self.renew(selected);
            }
            if let Some(entry) = self.ledger.mitigations.get_mut(&what.key) {
                entry.proofs.retain(|proof| proof.target != *target || proof.action != what.action);
                entry.proofs.extend(of(proofs, what).cloned());
            }
            let key = what.key.clone();
            if observes(change, what) {
                let detail = format!("{} only observes on {target}, and refuses nothing", what.action);
                self.events.push(Event::HeldBack { key, detail });
                continue;
            }
            let proof = proof_words(proofs, what, is_service(selection, what));
            let detail = format!("{} on {target}{proof}", what.action);
            self.events.push(Event::Applied { key, detail });
        }
        for what in &change.takes_off {
            let reason = selection.get(&what.key).map_or_else(String::new, |s| s.verdict.reason());
            let detail = format!("{} from {target}: {reason}", what.action);
            self.events.push(Event::TakenOff { key: what.key.clone(), detail });
        }
    }

    /// The first answer stays: later ones were given with the mitigation in force.
    fn record_baselines(&mut self, baselines: Vec<(Key, Baseline)>) {
        for (key, new) in baselines {
            let Some(entry) = self.ledger.mitigations.get_mut(&key) else { continue };
            let same =
                |old: &Baseline| old.listener == new.listener && old.site == new.site && old.head == new.head;
            if !entry.baselines.iter().any(same) {
                entry.baselines.push(new);
            }
        }
    }

    /// What was asked again without a change. An answer that proves nothing takes no proof away.
    pub(super) fn record_again(&mut self, proofs: Vec<Proved>) -> Result<(), HomeError> {
        if proofs.is_empty() {
            return Ok(());
        }
        for (key, new) in proofs {
            let Some(entry) = self.ledger.mitigations.get_mut(&key) else { continue };
            let same = |old: &ProofRecord| {
                old.target == new.target
                    && old.site == new.site
                    && old.listener == new.listener
                    && old.action == new.action
            };
            match entry.proofs.iter_mut().find(|old| same(old)) {
                Some(old) if old.proof == Proof::Proven && new.proof == Proof::Unproven => {}
                Some(old) => *old = new,
                None => entry.proofs.push(new),
            }
        }
        self.save_ledger()
    }

    fn note_failures(&mut self, selection: &Selection, change: &Change, why: &str, harmful: &[Key]) {
        // What only leaves, or is repaired, is tried again as well.
        self.unfinished |=
            !change.puts_on.iter().all(|what| harmful.contains(&what.key)) || harmful.is_empty();
        for what in &change.puts_on {
            let Some(selected) = selection.get(&what.key) else { continue };
            let harmed = harmful.contains(&what.key);
            self.failures.insert(what.key.clone(), why.to_owned());
            self.ledger.note_failure(&what.key, &selected.digest, why, harmed, self.input.now);
        }
    }

    /// The ledger keeps what is in force somewhere, and heartbeats that apply.
    pub(super) fn settle(&mut self, selection: &Selection, observed: &[Observed]) -> Result<(), HomeError> {
        let held = |key: &Key| {
            let of = |holds: &[Hold]| holds.iter().any(|hold| hold.key == *key);
            observed.iter().any(|target| of(&target.live.holds))
                || self.ledger.targets.values().any(|left| of(&left.holds))
        };
        let left_alone = |selected: &Selected| {
            // What the operator takes off leaves in a pause, too, and so does it on a target that we gave up.
            let waits = selected.wish != Wish::TakeOff;
            let given_up = |target| waits && self.contested.contains(target);
            let mut targets = selected.targets.iter();
            (waits && self.paused())
                || targets.any(|target| self.untouchable.contains(target) || given_up(target))
        };
        let keep: Vec<Key> = selection
            .mitigations
            .iter()
            .filter(|s| held(&s.key) || left_alone(s) || (is_heartbeat(s) && s.wish != Wish::TakeOff))
            .map(|selected| selected.key.clone())
            .collect();
        let unread: Vec<Key> =
            self.ledger.mitigations.keys().filter(|key| selection.get(key).is_none()).cloned().collect();
        self.ledger.mitigations.retain(|key, _| keep.contains(key) || unread.contains(key));
        self.ledger.forget_earlier();
        for selected in &selection.mitigations {
            if let Some(entry) = self.ledger.mitigations.get_mut(&selected.key) {
                entry.fixed_since = selected.fixed_since;
            }
            // What waits for a pause to end goes on where it was.
            if !matches!(selected.verdict, Verdict::Applies(_) | Verdict::Frozen(_)) {
                self.ledger.failures.remove(&selected.key);
            }
        }
        self.note_known(selection);
        self.save_ledger()
    }

    /// Since when each revision is known. A feed that is silent in this cycle is not forgotten.
    fn note_known(&mut self, selection: &Selection) {
        let silent = &self.silent;
        self.ledger.known.retain(|key, _| silent.contains(&key.feed));
        let known = selection.mitigations.iter().filter(|selected| !selected.vanished);
        self.ledger.known.extend(known.filter(|selected| !silent.contains(&selected.key.feed)).map(
            |selected| {
                (selected.key.clone(), Known { digest: selected.digest.clone(), since: selected.since })
            },
        ));
    }
}

/// Whether the change leaves the action in force in this revision.
fn leaves(change: &Change, what: &ActionRef, digest: &str) -> bool {
    let mut holds = change.after.iter().flat_map(|after| &after.holds);
    holds.any(|hold| hold.key == what.key && hold.action == what.action && hold.digest == digest)
}

/// Whether the change leaves the action there to be observed.
fn observes(change: &Change, what: &ActionRef) -> bool {
    let mut holds = change.after.iter().flat_map(|after| &after.holds);
    holds.any(|hold| hold.observe && hold.key == what.key && hold.action == what.action)
}

/// The proofs of one action.
fn of<'p>(proofs: &'p [Proved], what: &ActionRef) -> impl Iterator<Item = &'p ProofRecord> {
    let what = what.clone();
    proofs.iter().filter(move |(key, p)| *key == what.key && p.action == what.action).map(|(_, proof)| proof)
}

/// Whether the action stops a service. The driver asked the system before it called that done.
fn is_service(selection: &Selection, what: &ActionRef) -> bool {
    let actions = selection.get(&what.key).into_iter().flat_map(|selected| &selected.mitigation.actions);
    actions
        .filter(|action| action.id == what.action)
        .any(|action| matches!(action.kind, ActionKind::Service { .. }))
}

fn proof_words(proofs: &[Proved], what: &ActionRef, service: bool) -> String {
    let proven = of(proofs, what).filter(|proof| proof.proof == Proof::Proven).count();
    match of(proofs, what).count() {
        0 if service && cfg!(windows) => ", as the service control manager says".to_owned(),
        0 if service => ", as systemd says".to_owned(),
        0 => ", no probe shows it".to_owned(),
        count => format!(", proven at {proven} of {count} listeners"),
    }
}
