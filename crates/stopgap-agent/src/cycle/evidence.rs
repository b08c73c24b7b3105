//! Evidence: what probes showed of the actions on a target, with what was known before.
//!
//! Asking and judging is `stopgap_drivers::probe`'s; here is what the ledger adds, and what it keeps.

use std::time::Duration;

use jiff::Timestamp;
use stopgap_core::Ledger;
use stopgap_core::ledger::{Baseline, ProofRecord};
use stopgap_core::observed::Observed;
use stopgap_core::plan::{ActionRef, Placement, Wanted};
use stopgap_core::proof::{Answer, Judgement, Proof};
use stopgap_drivers::Host;
use stopgap_drivers::probe::{Patience, Question, Shown, prove, questions};
use stopgap_feed::document::Expect;
use stopgap_feed::{Id, Key};

/// One target with what is, or will be, in force on it.
pub(super) struct Scene<'a> {
    pub host: &'a dyn Host,
    pub observed: &'a Observed,
    pub wanted: &'a [Wanted],
    pub placements: &'a [Placement],
    pub ledger: &'a Ledger,
    pub now: Timestamp,
}

/// What the probes showed of one mitigation's action at one listener.
pub(super) type Proved = (Key, ProofRecord);

impl Scene<'_> {
    /// The baseline: each probe of `actions` at each listener of their sites, before the change.
    pub(super) fn ask(&self, actions: &[ActionRef]) -> Vec<Question> {
        let chosen: Vec<Placement> =
            self.placements.iter().filter(|place| actions.contains(&place.what)).cloned().collect();
        let mut asked = questions(self.host, self.wanted, &chosen, self.observed, self.nonce());
        recall(&mut asked, self.ledger);
        asked
    }

    /// Tells the probes of one cycle from those of another in a server's log.
    pub(super) fn nonce(&self) -> u64 {
        u64::try_from(self.now.as_millisecond()).unwrap_or_default()
    }

    /// What is in force without a proof is asked again, once and without a change: a listener that
    /// was away may have come back.
    pub(super) fn prove_again(&self) -> Vec<Proved> {
        let mut unproven: Vec<ActionRef> = self
            .placements
            .iter()
            .filter(|place| self.lacks_proof(place))
            .map(|place| place.what.clone())
            .collect();
        unproven.dedup();
        if unproven.is_empty() {
            return Vec::new();
        }
        // The first answers stand where a baseline would; the ledger's take their place.
        let asked = self.ask(&unproven);
        let at_once = Patience { restart: Duration::ZERO, handover: Duration::ZERO, pause: Duration::ZERO };
        let shown = prove(self.host, asked, at_once, self.nonce());
        let mut records = self.records(&shown, &unproven);
        for one in shown.iter().filter(|one| self.refuses_what_nobody_compared(one)) {
            let (key, site, listener) =
                (&one.question.key, &one.question.site, one.question.listener.to_string());
            let here = |(of, record): &&mut Proved| {
                of == key
                    && record.site == *site
                    && record.listener == listener
                    && record.proof != Proof::Ineffective
            };
            for (_, record) in records.iter_mut().filter(here) {
                let why = format!(
                    "a legitimate request is refused as an attack is, and what it got before is not known: \
                     `stopgap revert {}` if it worked",
                    key.id
                );
                (record.proof, record.why) = (Proof::Unproven, Some(why));
            }
        }
        records
    }

    /// A request that is to be allowed and gets the rule's own refusal, where there was no answer when the rule was
    /// put on. It is no reason to revert, since whatever is in front of the site may close as well; a person is told.
    fn refuses_what_nobody_compared(&self, one: &Shown) -> bool {
        let (_, asked) = baseline(&one.question);
        let entry = self.ledger.mitigations.get(&one.question.key);
        let compared = entry.into_iter().flat_map(|entry| &entry.baselines).any(|known| {
            known.listener == asked.listener
                && known.site == asked.site
                && known.head == asked.head
                && !matches!(known.answer, Answer::None(_))
        });
        one.question.probe.expect == Expect::Allowed && one.refused_by_rule() && !compared
    }

    fn lacks_proof(&self, place: &Placement) -> bool {
        let is_it = |w: &&Wanted| w.key == place.what.key && w.action.id == place.what.action;
        if self.wanted.iter().find(is_it).is_some_and(|wanted| wanted.observe) {
            return false;
        }
        let Some(entry) = self.ledger.mitigations.get(&place.what.key) else { return true };
        let mut here = entry
            .proofs
            .iter()
            .filter(|p| {
                p.target == self.observed.target && p.site == place.site && p.action == place.what.action
            })
            .peekable();
        here.peek().is_none() || here.any(|proof| proof.proof != Proof::Proven)
    }

    /// One record an action and listener: an attack that passes outweighs everything, and only a
    /// refusal (or a header) proves; a legitimate request that still works does not.
    pub(super) fn records(&self, shown: &[Shown], actions: &[ActionRef]) -> Vec<Proved> {
        let mut records: Vec<Proved> = Vec::new();
        for one in shown {
            for (action, _) in &one.question.actions {
                let is_asked = actions.iter().any(|a| a.key == one.question.key && a.action == *action);
                let listener = one.question.listener.to_string();
                let same = |(key, record): &&mut Proved| {
                    *key == one.question.key
                        && record.action == *action
                        && record.listener == listener
                        && record.site == one.question.site
                };
                match records.iter_mut().find(same) {
                    Some((_, record)) => add(record, one),
                    None if is_asked => {
                        let mut record = self.empty(one, action, listener);
                        add(&mut record, one);
                        records.push((one.question.key.clone(), record));
                    }
                    None => {}
                }
            }
        }
        records
    }

    fn empty(&self, one: &Shown, action: &Id, listener: String) -> ProofRecord {
        ProofRecord {
            target: self.observed.target.clone(),
            site: one.question.site.clone(),
            listener,
            action: action.clone(),
            proof: Proof::Unproven,
            at: self.now,
            why: None,
        }
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

/// What the ledger knows of a listener before the mitigation outweighs what is seen now, with an
/// older revision of it in force. A legitimate request is compared with its answer of now: an
/// application may have changed since.
fn recall(asked: &mut [Question], ledger: &Ledger) {
    for question in asked.iter_mut().filter(|question| question.probe.expect != Expect::Allowed) {
        let known = ledger.mitigations.get(&question.key).map(|entry| entry.baselines.as_slice());
        let (_, now) = baseline(question);
        let same =
            |old: &&Baseline| old.listener == now.listener && old.site == now.site && old.head == now.head;
        if let Some(old) = known.unwrap_or_default().iter().find(same) {
            question.before = old.answer.clone();
        }
    }
}

/// What the ledger keeps of a question.
pub(super) fn baseline(question: &Question) -> (Key, Baseline) {
    let baseline = Baseline {
        listener: question.listener.to_string(),
        site: question.site.clone(),
        head: question.probe.head.clone(),
        answer: question.before.clone(),
    };
    (question.key.clone(), baseline)
}
