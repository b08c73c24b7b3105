//! One cycle: verify, select, render, plan, execute, report.
//!
//! The timer, a push, a watched file and an operator's command all run this function. `now` is read
//! once, by the caller; the network was asked before, without the lock. Each stage is a function of
//! its own below.

mod blame;
mod books;
mod clash;
mod due;
mod evidence;
mod execute;
mod hooks;
mod look;
mod prospects;
mod recover;
mod render;
mod want;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use stopgap_core::Ledger;
use stopgap_core::facts::{Facts, Looked};
use stopgap_core::ledger::FATAL_DEATHS;
use stopgap_core::observed::{Hold, Hook, Live, Observed, Site};
use stopgap_core::plan::{Change, Hooks, Plan};
use stopgap_core::policy::Policy;
use stopgap_core::report::{Failures, PauseReport, Report, report};
use stopgap_core::select::{FeedView, Selected, Selection, TargetView, Verdict, Wish, select};
use stopgap_drivers::{Driver, Host};
use stopgap_feed::document::{ActionKind, ActionType};
use stopgap_feed::{FeedName, Id, Key};

use crate::config::Config;
use crate::events::Event;
use crate::fetch::{Delivery, Fetched};
use crate::home::{Home, HomeError};
use crate::hub::{Contact, Said, Waiting};
use crate::journal::{self, Journal};
use crate::operator::Operator;
use crate::trust::{self, CurrentFeed};
use evidence::Scene;
use execute::{Execution, Outcome};
pub use prospects::Prospect;
use render::Rendering;

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
    pub fetched: BTreeMap<FeedName, Delivery>,
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
    /// Feeds were asked, and none is trusted.
    pub untrusted: bool,
    /// Something should be put on or taken off, was tried, and may succeed later.
    pub unfinished: bool,
    /// When time alone changes something next: a turn comes, a pause or a block ends, a soak is over.
    pub due: Option<Timestamp>,
    /// What was decided, and why.
    pub selection: Selection,
    /// What would be done for what waits.
    pub prospects: BTreeMap<Key, Prospect>,
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
    let looked = cycle.look(&feeds);
    let selection = cycle.select(&feeds, &looked);
    cycle.spare_the_unread(&selection, &observed);
    cycle.say_what_stays(&selection, &observed);
    let renderings = cycle.render(&selection, &observed);
    let changes = renderings.iter().filter_map(|rendering| rendering.rendered.change.clone());
    let plan = cycle.plan(changes.collect());
    let observed = match input.mode {
        Mode::Plan => observed,
        Mode::Apply => {
            for feed in &feeds {
                trust::store(input.home, input.host, feed, input.now)?;
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
    operator: Operator,
    /// What the organization wants, where this server belongs to one.
    said: Option<Said>,
    /// Whom this server waits for, where they change one after another.
    waiting: Option<Waiting>,
    policy: Policy,
    ledger: Ledger,
    /// As it is on the disk.
    saved: Ledger,
    failures: Failures,
    events: Vec<Event>,
    reverted: bool,
    /// Targets that are left alone in this cycle: they could not be observed, or an interrupted
    /// change cannot be taken back.
    untouchable: Vec<String>,
    /// Targets that we gave up repairing: only what is to leave is still taken off.
    contested: Vec<String>,
    /// Feeds that bring nothing in this cycle.
    silent: Vec<FeedName>,
    /// What an operator should know, beside what drivers found.
    warnings: Vec<String>,
    /// See [`Done::unfinished`].
    unfinished: bool,
    /// A change was made, and stays.
    progress: bool,
}

impl<'a> Cycle<'a> {
    fn begin(input: &'a Input<'a>) -> Result<Self, HomeError> {
        let operator = input.home.operator(input.host)?;
        let mut policy = operator.policy(input.config, input.now);
        policy.now.clone_from(&input.jump);
        let said = Said::load(input.home, input.host)?;
        if let Some(said) = &said {
            said.hold_back(&mut policy, input.config.hub.hub_may_revert, input.now);
        }
        let waiting = match &said {
            Some(_) => Waiting::load(input.home, input.host, input.now)?,
            None => None,
        };
        if let Some(waiting) = &waiting {
            policy.paused_until = policy.paused_until.max(waiting.pause().map(|pause| pause.until));
            let caps = said.as_ref().is_some_and(|said| said.settings.caps_stops);
            policy.stops_held = waiting.stops().filter(|_| caps).map(str::to_owned);
        }
        let ledger = input.home.ledger(input.host)?;
        Ok(Cycle {
            input,
            operator,
            said,
            waiting,
            policy,
            saved: ledger.clone(),
            ledger,
            failures: Failures::new(),
            events: Vec::new(),
            reverted: false,
            untouchable: Vec::new(),
            contested: Vec::new(),
            silent: Vec::new(),
            warnings: Vec::new(),
            unfinished: false,
            progress: false,
        })
    }

    fn plan(&self, changes: Vec<Change>) -> Plan {
        let hooks = &self.input.config.hooks;
        Plan { changes, hooks: Hooks { before: hooks.before.clone(), after: hooks.after.clone() } }
    }

    /// Writes the ledger, where it says anything new: most cycles find everything as it was.
    fn save_ledger(&mut self) -> Result<(), HomeError> {
        if self.ledger != self.saved {
            self.input.home.save_ledger(self.input.host, &self.ledger)?;
            self.saved.clone_from(&self.ledger);
        }
        Ok(())
    }

    fn paused(&self) -> bool {
        self.policy.paused_until.is_some()
    }

    fn journal(&self) -> Journal<'a> {
        Journal::new(self.input.home, self.input.host)
    }

    fn judge_feeds(&mut self) -> Vec<CurrentFeed> {
        let Input { host, home, config, fetched, now, .. } = self.input;
        let feeds: Vec<CurrentFeed> = config
            .feeds
            .iter()
            .map(|feed| {
                let delivery = fetched.get(&feed.name).cloned().unwrap_or_else(|| Fetched::Skipped.into());
                let mut feed = trust::judge(home, *host, feed, delivery, *now);
                if self.said.as_ref().is_some_and(Said::requires_approval) {
                    feed.policy.approval = None;
                }
                feed
            })
            .collect();
        let silent = feeds.iter().filter(|feed| feed.verified.is_none());
        self.silent = silent.map(|feed| feed.name.clone()).collect();
        // What a command that asks nobody finds is no failure of that command.
        for feed in feeds.iter().filter(|feed| feed.asked) {
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
                    all.extend(from_disk(target.driver.as_ref(), self.input.host));
                    self.untouchable.push(name);
                }
                Ok(observed) => {
                    if self.ledger.is_deadly(&name) {
                        self.fail(format!(
                            "nothing is changed on {name}: the agent died while it took off or repaired what is \
                             there, {FATAL_DEATHS} times in a row; `stopgap retry {name}` tries it again"
                        ));
                        self.untouchable.push(name.clone());
                    }
                    // Whoever pauses works on the server: what is undone meanwhile is no contest.
                    if !self.paused() {
                        self.compare(&name, &observed.live);
                    }
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
            self.contested.push(name.to_owned());
        }
    }

    fn observe_again(&self) -> Vec<Observed> {
        let host = self.input.host;
        let drivers = self.input.targets.iter().map(|target| target.driver.as_ref());
        drivers.filter_map(|driver| driver.observe(host).ok().or_else(|| from_disk(driver, host))).collect()
    }

    /// What should leave a target on which nothing can be changed: how it is done by hand.
    fn say_what_stays(&mut self, selection: &Selection, observed: &[Observed]) {
        for target in observed {
            let leaves = |hold: &&Hold| {
                selection.get(&hold.key).is_some_and(|selected| selected.wish == Wish::TakeOff)
            };
            let stays: BTreeSet<String> =
                target.live.holds.iter().filter(leaves).map(|hold| hold.key.to_string()).collect();
            if self.untouchable.contains(&target.target) && !stays.is_empty() {
                let stays: Vec<String> = stays.into_iter().collect();
                let (name, live) = (&target.target, self.input.home.path(&target.target).join("live"));
                let view =
                    self.input.targets.iter().map(|target| &target.view).find(|view| view.name == *name);
                self.fail(format!(
                    "{} stays on {name} until it can be changed again, and is taken off then; {}",
                    stays.join(", "),
                    by_hand(view.map_or(&[], |view| view.takes), name, &live)
                ));
            }
        }
    }

    fn select(&self, feeds: &[CurrentFeed], looked: &Arc<Looked>) -> Selection {
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
        let mut targets: Vec<TargetView> =
            self.input.targets.iter().map(|target| target.view.clone()).collect();
        targets.iter_mut().for_each(|target| target.facts.set_looked(Arc::clone(looked)));
        let mut facts = self.input.facts.clone();
        facts.set_looked(Arc::clone(looked));
        select(&views, &targets, &facts, &self.policy, &self.ledger, self.input.now)
    }

    fn carry_out(
        &mut self,
        selection: &Selection,
        observed: &[Observed],
        renderings: Vec<Rendering>,
    ) -> Result<(), HomeError> {
        for rendering in renderings {
            let Some(target) = self.input.targets.get(rendering.target) else { continue };
            let name = target.driver.target();
            if let Err(error) = self.carry_out_on(target, selection, observed, rendering) {
                // What stays open was not the death of the agent; where even that cannot be written, the
                // next cycle takes it for one, which alone has no consequence.
                let why = words(&error);
                let open = journal::Event::Open { target: name.to_owned(), why };
                let _ = self.journal().note(self.input.now, open);
                return Err(error);
            }
        }
        Ok(())
    }

    fn carry_out_on(
        &mut self,
        target: &Target,
        selection: &Selection,
        observed: &[Observed],
        Rendering { wanted, rendered, .. }: Rendering,
    ) -> Result<(), HomeError> {
        let name = target.driver.target();
        let Some(seen) = observed.iter().find(|observed| observed.target == name) else { return Ok(()) };
        let scene = Scene {
            host: self.input.host,
            observed: seen,
            wanted: &wanted,
            placements: &rendered.placements,
            ledger: &self.ledger,
            now: self.input.now,
        };
        let Some(change) = &rendered.change else {
            let proofs = scene.prove_again();
            // It is as wanted, by whomever: what is there now is what we leave.
            if self.ledger.targets.get(name).is_some_and(|left| left.undone) {
                self.ledger.note_left(name, seen.live.set.clone(), seen.live.holds.clone());
            }
            return self.record_again(proofs);
        };
        let journal = self.journal();
        let settle = self.input.config.settle.unsigned_abs();
        let driver = target.driver.as_ref();
        let hooks = &self.input.config.hooks;
        let (outcome, complaints) = Execution { scene, driver, journal, change, settle, hooks }.run()?;
        for complaint in complaints {
            self.fail(format!("{name}: {complaint}"));
        }
        let stays = matches!(outcome, Outcome::Done { .. });
        self.record(selection, change, outcome)?;
        if stays && let Err(error) = driver.settle(self.input.host, change) {
            self.fail(format!("{name}: cannot tidy up after the change: {}", words(&error)));
        }
        Ok(())
    }

    fn finish(
        mut self,
        selection: Selection,
        observed: &[Observed],
        feeds: Vec<CurrentFeed>,
        plan: Plan,
    ) -> Done {
        for selected in &selection.mitigations {
            if matches!(
                selected.verdict,
                Verdict::Blocked(..)
                    | Verdict::Disabled(_)
                    | Verdict::Frozen(_)
                    | Verdict::AwaitingApproval { .. }
            ) {
                let event = Event::HeldBack { key: selected.key.clone(), detail: selected.verdict.reason() };
                self.events.push(event);
            }
        }
        let mut asked = feeds.iter().filter(|feed| feed.asked).peekable();
        let untrusted = asked.peek().is_some() && asked.all(|feed| feed.verified.is_none());
        let reports = feeds.into_iter().map(|feed| feed.report).collect();
        let mut report = report(&selection, observed, &self.ledger, &self.failures, reports, Some(&plan));
        report.paused = self.pause();
        let contact = Contact::load(self.input.home, self.input.host).ok().flatten();
        report.hub = contact.map(|contact| contact.report(self.said.as_ref()));
        report.warnings.append(&mut self.warnings);
        report.warnings.extend(self.stops_that_wait(&selection));
        let due = self.due(&selection);
        let prospects = self.prospects(&selection, observed);
        let failed =
            !self.failures.is_empty() || self.events.iter().any(|e| matches!(e, Event::Failed { .. }));
        Done {
            report,
            plan,
            failed,
            reverted: self.reverted,
            untrusted,
            unfinished: self.unfinished || !self.untouchable.is_empty(),
            due,
            selection,
            prospects,
            events: self.events,
        }
    }

    /// Stops that wait beside rules that do not: their mitigation says that it applies, and not that.
    fn stops_that_wait(&self, selection: &Selection) -> Vec<String> {
        let Some(why) = &self.policy.stops_held else { return Vec::new() };
        let applied = selection.mitigations.iter().filter(|selected| selected.wish == Wish::Apply);
        applied.flat_map(|selected| &selected.held_stops).map(|id| format!("{id} waits: {why}")).collect()
    }

    /// Whose pause holds: the one that ends last.
    fn pause(&self) -> Option<PauseReport> {
        let now = self.input.now;
        let own = self.operator.paused(now).map(PauseReport::from);
        let freeze = self.said.as_ref().and_then(|said| said.pause(now));
        let turn = self.waiting.as_ref().and_then(Waiting::pause);
        own.into_iter().chain(freeze).chain(turn).max_by_key(|pause| pause.until)
    }

    fn fail(&mut self, detail: String) {
        self.events.push(Event::Failed { detail });
    }
}

/// How everything of ours is taken off a target without us. What a server reads goes with `live`; where its own
/// files or units were changed, `live` only tells what was, and without it nobody could put that back.
fn by_hand(takes: &[ActionType], name: &str, live: &Path) -> String {
    let live = live.display();
    match takes {
        [ActionType::UrlRewrite] => {
            format!("by hand, with every other rule of ours there: remove {live} and reload {name}")
        }
        _ => format!(
            "by hand: put back what {live}/record.json says was before, and keep that file until then"
        ),
    }
}

fn is_heartbeat(selected: &Selected) -> bool {
    selected.mitigation.actions.iter().all(|action| action.kind == ActionKind::DoNothing)
}

/// A target that cannot be observed, as far as its files tell: a server with a broken configuration
/// goes on with what it has read. Files that somebody edited tell nothing.
fn from_disk(driver: &dyn Driver, host: &dyn Host) -> Option<Observed> {
    let live = driver.live(host).filter(|live| live.foreign.is_empty())?;
    let names: BTreeSet<&String> = live.holds.iter().flat_map(|hold| &hold.sites).collect();
    let site = |name: &&String| Site { name: (*name).clone(), hook: Hook::Present, listeners: Vec::new() };
    let sites = names.iter().map(site).collect();
    let target = driver.target().to_owned();
    let warning = format!("{target} cannot be asked what it uses: what is shown of it is on the disk");
    Some(Observed {
        target,
        live,
        sites,
        warnings: vec![warning],
        lacks: BTreeMap::new(),
        files: BTreeMap::new(),
    })
}

/// An error with its causes, on one line; a cause whose words the error before it ends with is not said twice.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// How much a wait varies, as a share of the interval.
const JITTER: f64 = 0.1;

/// The wait until the next cycle: the interval, a tenth more or less, so that servers started
/// together do not ask together. `random` is from 0 to 1.
pub fn next_wait(interval: SignedDuration, random: f64) -> std::time::Duration {
    interval.unsigned_abs().mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}
