//! One change: baseline, journal, hooks, check, swap, reload, probe; and back, where it does harm.
//!
//! It makes no choices: what it does was printed by the plan.

use std::time::Duration;

use stopgap_core::ledger::Baseline;
use stopgap_core::plan::Change;
use stopgap_drivers::Driver;
use stopgap_drivers::probe::{Patience, harms, prove};
use stopgap_feed::Key;

use super::blame::blame;
use super::evidence::{Proved, Scene, baseline};
use super::{hooks, words};
use crate::config::HooksConfig;
use crate::home::HomeError;
use crate::journal::{Event, Journal};

/// Everything that one change needs.
pub(super) struct Execution<'a> {
    pub scene: Scene<'a>,
    pub driver: &'a dyn Driver,
    pub journal: Journal<'a>,
    pub change: &'a Change,
    pub settle: Duration,
    pub hooks: &'a HooksConfig,
}

/// How a change ended.
pub(super) enum Outcome {
    /// It is made, and stays.
    Done { proofs: Vec<Proved>, baselines: Vec<(Key, Baseline)> },
    /// It was made, and taken back: it did harm, or the server did not take it.
    Reverted { why: String, harmful: Vec<Key> },
    /// Nothing was changed.
    Failed { why: String },
    /// It could be neither made nor taken back: the journal keeps it, and the next cycle goes on.
    Stuck { why: String },
}

impl Execution<'_> {
    /// Carries out the change, and says what its hooks complained about after it. The journal's end is the
    /// caller's to write, after its ledger.
    pub(super) fn run(&self) -> Result<(Outcome, Vec<String>), HomeError> {
        let outcome = self.change()?;
        Ok((outcome, hooks::after(self.scene.host, self.hooks, self.change)))
    }

    fn change(&self) -> Result<Outcome, HomeError> {
        let Execution { scene, driver, journal, change, .. } = self;
        let asked = scene.ask(&change.puts_on);
        let baselines = asked.iter().map(baseline).collect();

        journal.note(scene.now, Event::Begin { change: (*change).clone() })?;
        if let Err(why) = hooks::before(scene.host, self.hooks, change) {
            return Ok(self.take_back(format!("nothing was changed: {why}"), Vec::new(), false));
        }
        if let Err(error) = driver.check(scene.host, change) {
            return Ok(self.take_back(words(&error), Vec::new(), false));
        }
        if let Err(error) = driver.apply(scene.host, change) {
            return Ok(self.take_back(words(&error), Vec::new(), true));
        }
        let patience = Patience { restart: self.settle, ..Patience::default() };
        let shown = prove(scene.host, asked, patience, scene.nonce());
        let (harmful, whys): (Vec<Vec<Key>>, Vec<String>) = harms(&shown)
            .map(|(question, why)| {
                let guilty = blame(&question.probe, &question.key, scene.wanted, &change.puts_on);
                (guilty, format!("{} at {}: {why}", question.key, question.listener))
            })
            .unzip();
        if let Some(why) = whys.first() {
            return Ok(self.take_back(why.clone(), harmful.concat(), true));
        }
        Ok(Outcome::Done { proofs: scene.records(&shown, &change.puts_on), baselines })
    }

    /// Puts back what was before. `applied` tells a change that was taken back from one that never
    /// was made.
    fn take_back(&self, why: String, harmful: Vec<Key>, applied: bool) -> Outcome {
        match self.driver.revert(self.scene.host, self.change) {
            Ok(()) if applied => Outcome::Reverted { why, harmful },
            Ok(()) => Outcome::Failed { why },
            Err(error) => {
                let back = words(&error);
                Outcome::Stuck { why: format!("{why}; it could not be taken back either: {back}") }
            }
        }
    }
}
