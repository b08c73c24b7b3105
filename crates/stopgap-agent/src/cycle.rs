//! One cycle: verify, select, render, plan, execute, report.
//!
//! The timer, a push, a watched file and an operator's command all run this function. `now` is read
//! once, by the caller; the network was asked before, without the lock. Each stage is a function of
//! its own below.

mod execute;
mod want;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stopgap_core::Ledger;
use stopgap_core::facts::Facts;
use stopgap_core::ledger::{Entry, Failure, ProofRecord, TargetEntry};
use stopgap_core::observed::{Hold, Live, Observed};
use stopgap_core::plan::{ActionRef, Change, Plan, Rendered, Wanted};
use stopgap_core::policy::Policy;
use stopgap_core::proof::Proof;
use stopgap_core::report::{Failures, Report, report};
use stopgap_core::select::{FeedView, Selected, Selection, TargetView, Verdict, Wish, select};
use stopgap_drivers::{Driver, Host};
use stopgap_feed::document::ActionKind;
use stopgap_feed::{FeedName, Id, Key};

use crate::config::Config;
use crate::events::Event;
use crate::fetch::Fetched;
use crate::home::{Home, HomeError};
use crate::journal::{self, Journal};
use crate::trust::{self, CurrentFeed};
use execute::{Execution, Outcome, execute};

/// What a cycle may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: it stops at the plan, and moves no trust state.
    Plan,
    /// Everything that the plan says.
    Apply,
}

/// One target: how it is worked on, and what counts there.
pub struct Target {
    /// The driver.
    pub driver: Box<dyn Driver>,
    /// Facts and site roles.
    pub view: TargetView,
}

/// Everything that a cycle is a function of.
pub struct Input<'a> {
    /// The only door to the machine.
    pub host: &'a dyn Host,
    /// The data folder.
    pub home: &'a Home,
    /// The configuration.
    pub config: &'a Config,
    /// This server's targets, in the order of the configuration.
    pub targets: &'a [Target],
    /// This server's facts.
    pub facts: &'a Facts,
    /// What was fetched; a feed that is not in it counts as not asked.
    pub fetched: BTreeMap<FeedName, Fetched>,
    /// Ids that do not wait for their wave.
    pub jump: Vec<Id>,
    /// What it may do.
    pub mode: Mode,
    /// The time, read once.
    pub now: Timestamp,
}

/// What a cycle did.
#[derive(Debug)]
pub struct Done {
    /// The report after it.
    pub report: Report,
    /// What is still to be done (a plan), or was done.
    pub plan: Plan,
    /// Something failed.
    pub failed: bool,
    /// A change was taken back.
    pub reverted: bool,
    /// There are feeds, and none was trusted.
    pub untrusted: bool,
    /// What was decided, and why.
    pub selection: Selection,
    /// For the log.
    pub events: Vec<Event>,
}

/// Runs one cycle. In [`Mode::Apply`] the caller holds the lock.
pub fn cycle(input: Input<'_>) -> Result<Done, HomeError> {
    let mut cycle = Cycle::begin(&input)?;
    if input.mode == Mode::Apply {
        cycle.recover()?;
    }
    let feeds = cycle.judge_feeds();
    let observed = cycle.observe();
    let selection = cycle.select(&feeds);
    let renderings = cycle.render(&selection, &observed);
    let plan = Plan {
        changes: renderings.iter().filter_map(|rendering| rendering.rendered.change.clone()).collect(),
    };
    let observed = match input.mode {
        Mode::Plan => observed,
        Mode::Apply => {
            for feed in &feeds {
                trust::store(input.home, input.host, feed)?;
            }
            cycle.write_ahead(&selection)?;
            cycle.carry_out(&selection, &observed, renderings)?;
            let after = cycle.observe_again();
            cycle.settle(&selection, &after)?;
            after
        }
    };
    Ok(cycle.finish(selection, &observed, feeds, plan))
}

struct Cycle<'a> {
    input: &'a Input<'a>,
    policy: Policy,
    ledger: Ledger,
    failures: Failures,
    events: Vec<Event>,
    reverted: bool,
    /// Targets that are left alone in this cycle: they could not be observed, or we gave up.
    untouchable: Vec<String>,
}

/// What one target becomes.
struct Rendering {
    /// The target's place in [`Input::targets`].
    target: usize,
    wanted: Vec<Wanted>,
    rendered: Rendered,
}

impl<'a> Cycle<'a> {
    fn begin(input: &'a Input<'a>) -> Result<Self, HomeError> {
        let operator = input.home.operator(input.host)?;
        let mut policy = operator.policy(input.config, input.now);
        policy.now.clone_from(&input.jump);
        Ok(Cycle {
            input,
            policy,
            ledger: input.home.ledger(input.host)?,
            failures: Failures::new(),
            events: Vec::new(),
            reverted: false,
            untouchable: Vec::new(),
        })
    }

    fn journal(&self) -> Journal<'a> {
        Journal::new(self.input.home, self.input.host)
    }

    /// A change without an end: the agent, or the machine, went down in the middle of it. What it
    /// began is put back; this cycle then plans anew, with a baseline of its own.
    fn recover(&mut self) -> Result<(), HomeError> {
        let journal = self.journal();
        for change in journal.pending()? {
            let Some(target) = self.input.targets.iter().find(|t| t.driver.target() == change.target) else {
                self.fail(format!(
                    "an interrupted change of target {} waits: put its [[target]] back into the configuration",
                    change.target
                ));
                continue;
            };
            if let Err(error) = target.driver.revert(self.input.host, &change) {
                self.fail(format!(
                    "an interrupted change of {} cannot be taken back: {}",
                    change.target,
                    words(&error)
                ));
                continue;
            }
            let live = target.driver.observe(self.input.host).map(|seen| seen.live).unwrap_or_default();
            self.ledger.note_left(&change.target, live.set, live.holds);
            self.input.home.save_ledger(self.input.host, &self.ledger)?;
            let why = "the agent was interrupted in the middle of it".to_owned();
            self.events.push(Event::Reverted { detail: format!("{}: {why}", change.target) });
            journal.note(self.input.now, journal::Event::Reverted { target: change.target, why })?;
        }
        journal.rotate()
    }

    fn judge_feeds(&mut self) -> Vec<CurrentFeed> {
        let Input { host, home, config, fetched, now, .. } = self.input;
        let feeds: Vec<CurrentFeed> = config
            .feeds
            .iter()
            .map(|feed| {
                let fetched = fetched.get(&feed.name).cloned().unwrap_or(Fetched::Skipped);
                trust::judge(home, *host, feed, fetched, *now)
            })
            .collect();
        for feed in &feeds {
            if let (Some(code), Some(message)) = (&feed.report.error, &feed.report.message) {
                let detail = format!("feed {}: {code}: {message}", feed.name);
                self.events.push(Event::Failed { detail });
            }
        }
        feeds
    }

    /// Every target as it is; our own work on it compared with what we left there.
    fn observe(&mut self) -> Vec<Observed> {
        let mut all = Vec::new();
        for target in self.input.targets {
            let name = target.driver.target().to_owned();
            match target.driver.observe(self.input.host) {
                Err(error) => {
                    self.fail(format!(
                        "{name} cannot be observed: {}; nothing is changed there",
                        words(&error)
                    ));
                    self.untouchable.push(name);
                }
                Ok(observed) => {
                    self.compare(&name, &observed.live);
                    all.push(observed);
                }
            }
        }
        all
    }

    fn compare(&mut self, name: &str, live: &Live) {
        let before = self.ledger.targets.get(name).cloned().unwrap_or_default();
        let may_change = self.ledger.note_observed(name, live, self.input.now);
        let after = self.ledger.targets.get(name).cloned().unwrap_or_default();
        if after.undone && !before.undone {
            let found = live.foreign.first().cloned().unwrap_or_else(|| "our rules are gone".into());
            self.events.push(Event::Undone { detail: format!("{name}: {found}") });
        }
        if let (Some(given_up), None) = (&after.given_up, &before.given_up) {
            self.fail(format!("{name} is contested and no longer repaired: {}", given_up.found));
        }
        if !may_change {
            self.untouchable.push(name.to_owned());
        }
    }

    fn observe_again(&self) -> Vec<Observed> {
        self.input.targets.iter().filter_map(|target| target.driver.observe(self.input.host).ok()).collect()
    }

    fn select(&self, feeds: &[CurrentFeed]) -> Selection {
        let views: Vec<FeedView<'_>> = feeds
            .iter()
            .map(|feed| match &feed.verified {
                Some(verified) => {
                    let trusted_at = feed.report.trusted_at.unwrap_or(self.input.now);
                    FeedView::current(feed.name.clone(), verified, feed.policy.clone(), trusted_at)
                }
                None => FeedView::silent(feed.name.clone(), feed.policy.clone()),
            })
            .collect();
        let targets: Vec<TargetView> = self.input.targets.iter().map(|target| target.view.clone()).collect();
        select(&views, &targets, self.input.facts, &self.policy, &self.ledger, self.input.now)
    }

    /// What each target becomes. What a target cannot express is a failure of that mitigation alone.
    fn render(&mut self, selection: &Selection, observed: &[Observed]) -> Vec<Rendering> {
        let mut renderings = Vec::new();
        for (index, target) in self.input.targets.iter().enumerate() {
            let name = target.driver.target();
            let Some(observed) = observed.iter().find(|observed| observed.target == name) else { continue };
            if self.untouchable.iter().any(|untouchable| untouchable == name) {
                continue;
            }
            let wanted = want::wanted(selection, &self.ledger, observed);
            let rendered = target.driver.render(&wanted, observed);
            for (what, why) in &rendered.refused {
                self.failures
                    .insert(what.key.clone(), format!("{name} cannot express {}: {why}", what.action));
            }
            renderings.push(Rendering { target: index, wanted, rendered });
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

    /// The ledger knows a mitigation before it is put on, so that whatever happens its octets are
    /// here to take it off.
    fn write_ahead(&mut self, selection: &Selection) -> Result<(), HomeError> {
        let mut changed = false;
        for selected in selection.mitigations.iter().filter(|selected| selected.wish == Wish::Apply) {
            let entry = self.ledger.mitigations.get(&selected.key);
            if entry.is_none_or(|entry| entry.digest != selected.digest) {
                let entry = Entry {
                    octets: selected.mitigation.octets.clone(),
                    digest: selected.digest.clone(),
                    trusted_at: selected.trusted_at,
                    applied_at: entry.map_or(self.input.now, |entry| entry.applied_at),
                    fixed_since: None,
                    proofs: Vec::new(),
                };
                self.ledger.mitigations.insert(selected.key.clone(), entry);
                if is_heartbeat(selected) {
                    let detail = "it changes nothing".to_owned();
                    self.events.push(Event::Applied { key: selected.key.clone(), detail });
                }
                changed = true;
            }
        }
        if changed { self.input.home.save_ledger(self.input.host, &self.ledger) } else { Ok(()) }
    }

    fn carry_out(
        &mut self,
        selection: &Selection,
        observed: &[Observed],
        renderings: Vec<Rendering>,
    ) -> Result<(), HomeError> {
        for Rendering { target, wanted, rendered } in renderings {
            let (Some(target), Some(change)) = (self.input.targets.get(target), &rendered.change) else {
                continue;
            };
            let Some(seen) = observed.iter().find(|o| o.target == change.target) else { continue };
            let execution = Execution {
                host: self.input.host,
                driver: target.driver.as_ref(),
                journal: self.journal(),
                observed: seen,
                change,
                wanted: &wanted,
                placements: &rendered.placements,
                settle: self.input.config.settle.unsigned_abs(),
                now: self.input.now,
            };
            let outcome = execute(&execution)?;
            let stays = matches!(outcome, Outcome::Done { .. });
            self.record(selection, change, outcome)?;
            if stays && let Err(error) = target.driver.settle(self.input.host, change) {
                self.fail(format!("{}: cannot tidy up after the change: {}", change.target, words(&error)));
            }
        }
        Ok(())
    }

    /// One change's outcome, into ledger and events; the journal's end comes last, so that a crash
    /// before it takes the change back.
    fn record(&mut self, selection: &Selection, change: &Change, outcome: Outcome) -> Result<(), HomeError> {
        let target = &change.target;
        match outcome {
            Outcome::Done { proofs } => {
                self.record_done(selection, change, &proofs);
                self.input.home.save_ledger(self.input.host, &self.ledger)?;
                self.journal().note(self.input.now, journal::Event::Done { target: target.clone() })
            }
            Outcome::Reverted { why, harmful } => {
                self.reverted = true;
                self.events.push(Event::Reverted { detail: format!("{target}: {why}") });
                self.note_failures(selection, change, &why, &harmful);
                self.input.home.save_ledger(self.input.host, &self.ledger)?;
                self.journal().note(self.input.now, journal::Event::Reverted { target: target.clone(), why })
            }
            Outcome::Failed { why } => {
                self.fail(format!("{target}: {why}"));
                self.note_failures(selection, change, &why, &[]);
                self.input.home.save_ledger(self.input.host, &self.ledger)?;
                self.journal().note(self.input.now, journal::Event::Reverted { target: target.clone(), why })
            }
            Outcome::Stuck { why } => {
                self.fail(format!("{target}: {why}"));
                Ok(())
            }
        }
    }

    fn record_done(&mut self, selection: &Selection, change: &Change, proofs: &[execute::Proved]) {
        let target = &change.target;
        let (set, holds) = match &change.after {
            Some(after) => (Some(after.id.clone()), after.holds.clone()),
            None => (None, Vec::new()),
        };
        self.ledger.note_left(target, set, holds);
        for what in &change.puts_on {
            self.ledger.failures.remove(&what.key);
            if let Some(entry) = self.ledger.mitigations.get_mut(&what.key) {
                entry.proofs.retain(|proof| proof.target != *target || proof.action != what.action);
                entry.proofs.extend(of(proofs, what).cloned());
            }
            let detail = format!("{} on {target}{}", what.action, proof_words(proofs, what));
            self.events.push(Event::Applied { key: what.key.clone(), detail });
        }
        for what in &change.takes_off {
            let reason = selection.get(&what.key).map_or_else(String::new, |s| s.verdict.reason());
            let detail = format!("{} from {target}: {reason}", what.action);
            self.events.push(Event::TakenOff { key: what.key.clone(), detail });
        }
    }

    fn note_failures(&mut self, selection: &Selection, change: &Change, why: &str, harmful: &[Key]) {
        for what in &change.puts_on {
            let Some(selected) = selection.get(&what.key) else { continue };
            let failure = Failure {
                at: self.input.now,
                digest: selected.digest.clone(),
                why: why.to_owned(),
                harmed: harmful.contains(&what.key),
            };
            self.failures.insert(what.key.clone(), why.to_owned());
            self.ledger.failures.insert(what.key.clone(), failure);
        }
    }

    /// The ledger keeps what is in force somewhere, and heartbeats that apply.
    fn settle(&mut self, selection: &Selection, observed: &[Observed]) -> Result<(), HomeError> {
        let unseen: Vec<&TargetEntry> = self
            .ledger
            .targets
            .iter()
            .filter(|(name, _)| observed.iter().all(|target| target.target != **name))
            .map(|(_, entry)| entry)
            .collect();
        let held = |key: &Key| {
            let of = |holds: &[Hold]| holds.iter().any(|hold| hold.key == *key);
            observed.iter().any(|target| of(&target.live.holds))
                || unseen.iter().any(|entry| of(&entry.holds))
        };
        let contested =
            |selected: &Selected| selected.targets.iter().any(|target| self.untouchable.contains(target));
        let keep: Vec<Key> = selection
            .mitigations
            .iter()
            .filter(|s| held(&s.key) || contested(s) || (is_heartbeat(s) && s.wish != Wish::TakeOff))
            .map(|selected| selected.key.clone())
            .collect();
        let unread: Vec<Key> =
            self.ledger.mitigations.keys().filter(|key| selection.get(key).is_none()).cloned().collect();
        self.ledger.mitigations.retain(|key, _| keep.contains(key) || unread.contains(key));
        for selected in &selection.mitigations {
            if let Some(entry) = self.ledger.mitigations.get_mut(&selected.key) {
                entry.fixed_since = selected.fixed_since;
            }
            if !matches!(selected.verdict, Verdict::Applies(_)) {
                self.ledger.failures.remove(&selected.key);
            }
        }
        self.input.home.save_ledger(self.input.host, &self.ledger)
    }

    fn finish(
        mut self,
        selection: Selection,
        observed: &[Observed],
        feeds: Vec<CurrentFeed>,
        plan: Plan,
    ) -> Done {
        for selected in &selection.mitigations {
            if matches!(selected.verdict, Verdict::Blocked(..) | Verdict::Disabled(_) | Verdict::Frozen(_)) {
                let event = Event::HeldBack { key: selected.key.clone(), detail: selected.verdict.reason() };
                self.events.push(event);
            }
        }
        let untrusted = !feeds.is_empty() && feeds.iter().all(|feed| feed.verified.is_none());
        let reports = feeds.into_iter().map(|feed| feed.report).collect();
        let report = report(&selection, observed, &self.ledger, &self.failures, reports, Some(&plan));
        let failed =
            !self.failures.is_empty() || self.events.iter().any(|e| matches!(e, Event::Failed { .. }));
        Done { report, plan, failed, reverted: self.reverted, untrusted, selection, events: self.events }
    }

    fn fail(&mut self, detail: String) {
        self.events.push(Event::Failed { detail });
    }
}

fn is_heartbeat(selected: &Selected) -> bool {
    selected.mitigation.actions.iter().all(|action| action.kind == ActionKind::DoNothing)
}

/// The proofs of one action.
fn of<'p>(proofs: &'p [execute::Proved], what: &ActionRef) -> impl Iterator<Item = &'p ProofRecord> {
    let what = what.clone();
    proofs.iter().filter(move |(key, p)| *key == what.key && p.action == what.action).map(|(_, proof)| proof)
}

fn proof_words(proofs: &[execute::Proved], what: &ActionRef) -> String {
    let proven = of(proofs, what).filter(|proof| proof.proof == Proof::Proven).count();
    match of(proofs, what).count() {
        0 => ", no probe shows it".to_owned(),
        count => format!(", proven at {proven} of {count} listeners"),
    }
}

/// An error with its causes, on one line.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// An hour's worth of jitter, as a share of the interval.
pub const JITTER: f64 = 0.1;

/// The wait until the next cycle: the interval, a tenth more or less, so that servers started
/// together do not ask together. `random` is from 0 to 1.
pub fn next_wait(interval: SignedDuration, random: f64) -> std::time::Duration {
    interval.unsigned_abs().mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}
