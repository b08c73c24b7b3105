//! One change: baseline, journal, check, swap, reload, probe; and back, where it does harm.
//!
//! It makes no choices: what it does was printed by the plan.

use std::time::Duration;

use jiff::Timestamp;
use stopgap_core::ledger::ProofRecord;
use stopgap_core::observed::Observed;
use stopgap_core::plan::{ActionRef, Change, Placement, Wanted};
use stopgap_core::proof::{Judgement, Proof};
use stopgap_drivers::probe::{Patience, Shown, harms, prove, questions};
use stopgap_drivers::{Driver, Host};
use stopgap_feed::document::Expect;
use stopgap_feed::{Id, Key};

use super::words;
use crate::home::HomeError;
use crate::journal::{Event, Journal};

/// Everything that one change needs.
pub(super) struct Execution<'a> {
    pub host: &'a dyn Host,
    pub driver: &'a dyn Driver,
    pub journal: Journal<'a>,
    pub observed: &'a Observed,
    pub change: &'a Change,
    pub wanted: &'a [Wanted],
    pub placements: &'a [Placement],
    pub settle: Duration,
    pub now: Timestamp,
}

/// What one probe showed of one mitigation's action at one listener.
pub(super) type Proved = (Key, ProofRecord);

/// How a change ended.
pub(super) enum Outcome {
    /// It is made, and stays.
    Done { proofs: Vec<Proved> },
    /// It was made, and taken back: it did harm, or the server did not take it.
    Reverted { why: String, harmful: Vec<Key> },
    /// Nothing was changed.
    Failed { why: String },
    /// It could be neither made nor taken back: the journal keeps it, and the next cycle goes on.
    Stuck { why: String },
}

/// Carries out a change. The journal's end is the caller's to write, after its ledger.
pub(super) fn execute(execution: &Execution<'_>) -> Result<Outcome, HomeError> {
    let Execution { host, driver, journal, change, .. } = execution;
    let new: Vec<Placement> =
        execution.placements.iter().filter(|place| change.puts_on.contains(&place.what)).cloned().collect();
    let nonce = nonce(execution.now);
    let asked = questions(*host, execution.wanted, &new, execution.observed, nonce);

    journal.note(execution.now, Event::Begin { change: (*change).clone() })?;
    if let Err(error) = driver.check(*host, change) {
        return Ok(execution.take_back(words(&error), Vec::new(), false));
    }
    if let Err(error) = driver.apply(*host, change) {
        return Ok(execution.take_back(words(&error), Vec::new(), true));
    }
    let patience = Patience { restart: execution.settle, ..Patience::default() };
    let shown = prove(*host, asked, patience, nonce);
    let (harmful, whys): (Vec<Key>, Vec<String>) = harms(&shown)
        .map(|(question, why)| {
            (question.key.clone(), format!("{} at {}: {why}", question.key, question.listener))
        })
        .unzip();
    if let Some(why) = whys.first() {
        return Ok(execution.take_back(why.clone(), harmful, true));
    }
    Ok(Outcome::Done { proofs: records(&shown, &change.target, &change.puts_on, execution.now) })
}

impl Execution<'_> {
    /// Puts back what was before. `applied` tells a change that was taken back from one that never
    /// was made.
    fn take_back(&self, why: String, harmful: Vec<Key>, applied: bool) -> Outcome {
        match self.driver.revert(self.host, self.change) {
            Ok(()) if applied => Outcome::Reverted { why, harmful },
            Ok(()) => Outcome::Failed { why },
            Err(error) => {
                let back = words(&error);
                Outcome::Stuck { why: format!("{why}; it could not be taken back either: {back}") }
            }
        }
    }
}

/// Tells the probes of one cycle from those of another in a server's log.
fn nonce(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
}

/// One record an action and listener: an attack that passes outweighs everything, and only a
/// refusal (or a header) proves; a legitimate request that still works does not.
fn records(shown: &[Shown], target: &str, actions: &[ActionRef], now: Timestamp) -> Vec<Proved> {
    let mut records: Vec<Proved> = Vec::new();
    for one in shown {
        for (action, _) in &one.question.actions {
            let is_new = actions.iter().any(|a| a.key == one.question.key && a.action == *action);
            let listener = one.question.listener.to_string();
            let same = |(key, record): &&mut Proved| {
                *key == one.question.key
                    && record.action == *action
                    && record.listener == listener
                    && record.site == one.question.site
            };
            match records.iter_mut().find(same) {
                Some((_, record)) => add(record, one),
                None if is_new => {
                    let mut record = empty(target, one, action, listener, now);
                    add(&mut record, one);
                    records.push((one.question.key.clone(), record));
                }
                None => {}
            }
        }
    }
    records
}

fn empty(target: &str, one: &Shown, action: &Id, listener: String, now: Timestamp) -> ProofRecord {
    ProofRecord {
        target: target.to_owned(),
        site: one.question.site.clone(),
        listener,
        action: action.clone(),
        proof: Proof::Unproven,
        at: now,
        why: None,
    }
}

fn add(record: &mut ProofRecord, one: &Shown) {
    match (&one.judgement, &one.question.probe.expect) {
        (Judgement::Ineffective(why), _) => {
            (record.proof, record.why) = (Proof::Ineffective, Some(why.clone()));
        }
        (Judgement::Proven, Expect::Blocked | Expect::Header { .. }) if record.proof == Proof::Unproven => {
            (record.proof, record.why) = (Proof::Proven, None);
        }
        (Judgement::Unproven(why), _) if record.proof == Proof::Unproven => {
            record.why.get_or_insert_with(|| why.clone());
        }
        _ => {}
    }
}
