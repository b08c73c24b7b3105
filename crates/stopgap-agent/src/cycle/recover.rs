//! Recovery: what an earlier cycle left without an end, and what an older build put on.

use std::collections::BTreeSet;

use stopgap_core::ledger::FATAL_DEATHS;
use stopgap_core::observed::Observed;
use stopgap_core::plan::Change;
use stopgap_core::select::Selection;
use stopgap_feed::Key;

use super::{Cycle, hooks, words};
use crate::events::Event;
use crate::home::HomeError;
use crate::journal::{self, Pending};

impl Cycle<'_> {
    /// A change without an end: the agent, or the machine, went down in the middle of it. What it
    /// began is put back; this cycle then plans anew, with a baseline of its own.
    pub(super) fn recover(&mut self) -> Result<(), HomeError> {
        let journal = self.journal();
        for change in journal.done()? {
            // The agent may have gone down before it had tidied up, which includes what is to be known of a change where
            // somebody removes its set by hand. What else keeps it from that is seen when the target is observed.
            let target = self.input.targets.iter().find(|target| target.driver.target() == change.target);
            if let Some(Err(error)) = target.map(|target| target.driver.settle(self.input.host, &change)) {
                tracing::debug!(target = change.target, "cannot tidy up again: {}", words(&error));
            }
        }
        for pending in journal.pending()? {
            // Booked first: putting it back may be what kills the agent.
            self.note_death(&pending)?;
            let change = pending.change;
            let Some(target) = self.input.targets.iter().find(|t| t.driver.target() == change.target) else {
                self.fail(format!(
                    "an interrupted change of target {} waits: put its [[target]] back into the configuration",
                    change.target
                ));
                if pending.died {
                    self.run_after(&change);
                }
                continue;
            };
            // A second change on top of one that cannot be taken back would bury it.
            if let Err(error) = target.driver.revert(self.input.host, &change) {
                self.untouchable.push(change.target.clone());
                self.fail(format!(
                    "an interrupted change of {} cannot be taken back: {}",
                    change.target,
                    words(&error)
                ));
                // Once for each death, and again when it is back: a server is not to stay drained for as long as its
                // change cannot be taken back.
                if pending.died {
                    self.run_after(&change);
                }
                continue;
            }
            // What `before` began, such as draining, is not to outlive the change.
            self.run_after(&change);
            // A server that cannot be asked is compared with what the ledger says it held before.
            if let Ok(seen) = target.driver.observe(self.input.host) {
                self.ledger.note_left(&change.target, seen.live.set, seen.live.holds);
            }
            self.save_ledger()?;
            let why = "the agent was interrupted in the middle of it".to_owned();
            self.events.push(Event::Reverted { detail: format!("{}: {why}", change.target) });
            journal.note(self.input.now, journal::Event::Reverted { target: change.target, why })?;
        }
        journal.rotate()
    }

    fn run_after(&mut self, change: &Change) {
        for complaint in hooks::after(self.input.host, &self.input.config.hooks, change) {
            self.fail(format!("{}: {complaint}", change.target));
        }
    }

    fn note_death(&mut self, pending: &Pending) -> Result<(), HomeError> {
        if !pending.died {
            return Ok(());
        }
        let put_on = put_on(&pending.change);
        if put_on.is_empty() && self.ledger.note_target_death(&pending.change.target, pending.at) {
            let target = &pending.change.target;
            self.fail(format!("{target}: the agent died while changing it, {FATAL_DEATHS} times in a row"));
        }
        let before = self.ledger.failures.clone();
        self.ledger.note_death(&put_on, pending.at);
        for (key, _) in &put_on {
            let (Some(now), then) = (self.ledger.failures.get(key), before.get(key)) else { continue };
            if Some(now) != then && now.deaths >= FATAL_DEATHS {
                let detail = format!("{key}: {}", now.why);
                self.fail(detail);
            }
        }
        self.save_ledger()?;
        // A change that waits for long is not to be booked anew, whatever else happens to what it was to put on.
        // Where that cannot be written it is still put back.
        let (target, why) =
            (pending.change.target.clone(), "the agent was interrupted in the middle of it".into());
        let _ = self.journal().note(self.input.now, journal::Event::Open { target, why });
        Ok(())
    }

    /// A target that holds what this build cannot read is left alone: what it holds could not be written
    /// again with the rest. The operator's own revert needs no text.
    pub(super) fn spare_the_unread(&mut self, selection: &Selection, observed: &[Observed]) {
        for target in observed {
            let unread: BTreeSet<&Key> = target
                .live
                .holds
                .iter()
                .map(|hold| &hold.key)
                .filter(|key| selection.get(key).is_none() && self.ledger.mitigations.contains_key(key))
                .filter(|key| self.policy.block_of(key, self.input.now).is_none_or(|block| !block.take_off))
                .collect();
            let Some(first) = unread.first() else { continue };
            let names: Vec<String> = unread.iter().map(|key| key.to_string()).collect();
            let text = format!(
                "{} on {} is in force and cannot be read by this build, so nothing is changed on {}; \
                 `stopgap revert {first}` takes it off",
                names.join(", "),
                target.target,
                target.target
            );
            self.untouchable.push(target.target.clone());
            self.warnings.push(text.clone());
            self.fail(text);
        }
    }
}

/// What the change was to put on, each mitigation once, by the digest of its revision.
fn put_on(change: &Change) -> Vec<(Key, String)> {
    let holds = change.after.iter().flat_map(|after| &after.holds);
    let new = holds
        .filter(|hold| change.puts_on.iter().any(|what| what.key == hold.key && what.action == hold.action));
    let once: BTreeSet<(Key, String)> = new.map(|hold| (hold.key.clone(), hold.digest.clone())).collect();
    once.into_iter().collect()
}
