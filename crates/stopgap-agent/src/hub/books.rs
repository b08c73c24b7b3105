//! `hub/reports.json`: what this server has to tell its hub, written under a cycle's lock by whoever ran the
//! cycle, sent by the service.
//!
//! A cycle has news where what it found differs from what was told last, or where something was put on, taken
//! off or taken back; once an hour it has in any case. While the hub is away the oldest reports are merged: of
//! states the newer counts, events are kept.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_core::facts::{Fact, Facts};
use stopgap_core::ledger::Ledger;
use stopgap_core::plan::sha256_hex;
use stopgap_core::report::{MitigationReport, Report};
use stopgap_core::stops;
use stopgap_core::wire::{self, Happened, ServerReport};
use stopgap_drivers::Host;

use super::enrollment::Enrollment;
use super::machine;
use super::said::Said;
use crate::config::Config;
use crate::cycle::{Done, Prospect};
use crate::events::Event;
use crate::home::{Home, HomeError};

const FILE: &str = "hub/reports.json";

/// Reports that wait; a hub that is away for weeks is told the last day's in full.
const MAX_WAITING: usize = 24;
/// All of them, in octets: a quarter of what a request may hold.
const MAX_OCTETS: usize = wire::MAX_BODY / 4;
/// Events of one report; of more the newest count.
const MAX_EVENTS: usize = 256;
/// A report without news is made so often: with each hourly cycle, which may come a tenth early.
const HOURLY: SignedDuration = SignedDuration::from_mins(50);

/// No server ever makes so many reports; a hub that says so does not end the counting.
const FARTHEST: u64 = 1 << 62;

/// What waits, and what was told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Books {
    /// The sequence of the newest report that was made.
    pub sequence: u64,
    /// Oldest first.
    pub waiting: Vec<ServerReport>,
    /// SHA-256 of what the newest report says, but for times that pass by themselves.
    told: String,
    /// When it was made.
    told_at: Option<Timestamp>,
}

impl Books {
    pub(super) fn load(home: &Home, host: &dyn Host) -> Result<Books, HomeError> {
        match home.load(host, FILE) {
            // What is damaged begins anew, or the hub would never be told anything again; it says where it stands.
            Err(HomeError::Damaged { .. }) => Ok(Books::default()),
            kept => Ok(kept?.unwrap_or_default()),
        }
    }

    /// Replaces them. The caller holds the lock.
    pub(super) fn save(&self, home: &Home, host: &dyn Host) -> Result<(), HomeError> {
        home.make_folder(host, super::FOLDER)?;
        home.save(host, FILE, self)
    }

    /// Takes what a cycle found; whether there was news.
    fn take(&mut self, mut report: ServerReport, failed: &[String]) -> bool {
        let told = fingerprint(&report, failed);
        let late = self.told_at.is_none_or(|at| report.at.duration_since(at).abs() >= HOURLY);
        let happened = report.events.iter().any(|event| !matches!(event.event, 1008 | 1010 | 1013));
        if told == self.told && !late && !happened {
            return false;
        }
        self.sequence = self.sequence.saturating_add(1);
        self.told = told;
        self.told_at = Some(report.at);
        report.sequence = self.sequence;
        self.waiting.push(report);
        self.merge();
        true
    }

    fn merge(&mut self) {
        let octets = |waiting: &[ServerReport]| {
            waiting.iter().map(|r| serde_json::to_vec(r).map_or(0, |text| text.len())).sum::<usize>()
        };
        while self.waiting.len() > 1
            && (self.waiting.len() > MAX_WAITING || octets(&self.waiting) > MAX_OCTETS)
        {
            let oldest = self.waiting.remove(0);
            if let Some(next) = self.waiting.first_mut() {
                next.events.splice(0..0, oldest.events);
                bound(&mut next.events);
            }
        }
    }

    /// What the hub keeps need not be told again. One that knows more than was ever told knew this server before
    /// its disk was put back: it is told everything anew, under numbers that it does not know.
    pub(super) fn kept(&mut self, through: u64) {
        let through = through.min(FARTHEST);
        self.waiting.retain(|report| report.sequence > through);
        if through > self.sequence {
            self.sequence = through;
            self.told.clear();
            self.waiting.clear();
        }
    }
}

/// Keeps what a cycle found for the hub, where this server joined one. The caller holds the lock.
pub(crate) fn note(
    home: &Home,
    host: &dyn Host,
    config: &Config,
    facts: &Facts,
    done: &Done,
    now: Timestamp,
) -> Result<(), HomeError> {
    if !Enrollment::is_there(home, host) {
        return Ok(());
    }
    let said = Said::load(home, host)?;
    let operator = home.operator(host)?;
    let ledger = home.ledger(host)?;
    let own = operator.policy(config, now);
    let events: Vec<Happened> = done.events.iter().map(|event| happened(event, now)).collect();
    let mut failed: Vec<String> =
        events.iter().filter(|event| event.event == 1008).map(|event| event.text.clone()).collect();
    failed.sort();
    let report = ServerReport {
        sequence: 0,
        at: now,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        system: machine::system(),
        settings: said.map(|said| said.settings.version).unwrap_or_default(),
        mitigations_enabled: own.server_enabled,
        mitigations_blocked: own
            .blocks
            .iter()
            .map(|block| match &block.feed {
                Some(feed) => format!("{feed}:{}", block.id),
                None => block.id.to_string(),
            })
            .collect(),
        facts: products(facts, version),
        facts_unknown: unread_of(facts),
        mitigations: done.report.mitigations.iter().map(|m| mitigation(m, done, &ledger)).collect(),
        stopped: Some(stops::in_force(&done.report, &done.selection)),
        feeds: feeds(&done.report),
        paused_until: own.paused_until,
        warnings: done.report.warnings.clone(),
        events,
    };
    let mut books = Books::load(home, host)?;
    if books.take(report, &failed) { books.save(home, host) } else { Ok(()) }
}

/// Of every product what `word` takes of it.
fn products(facts: &Facts, word: fn(&Fact) -> Option<String>) -> BTreeMap<String, String> {
    facts.iter().filter_map(|(product, fact)| Some((product.to_owned(), word(fact)?))).collect()
}

fn version(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Version(version) => Some(version.clone()),
        Fact::Unknown(_) => None,
    }
}

/// What could not be read. That Linux has no version that counts is so everywhere, and tells nobody anything.
fn unread_of(facts: &Facts) -> BTreeMap<String, String> {
    let mut unread = products(facts, unread);
    if !cfg!(windows) {
        unread.remove(std::env::consts::OS);
    }
    unread
}

fn unread(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Version(_) => None,
        Fact::Unknown(why) => Some(why.clone()),
    }
}

pub(crate) fn happened(event: &Event, at: Timestamp) -> Happened {
    let mitigation = match event {
        Event::Applied { key, .. } | Event::TakenOff { key, .. } | Event::HeldBack { key, .. } => {
            Some(key.to_string())
        }
        _ => None,
    };
    Happened { at, event: event.id(), mitigation, text: event.to_string() }
}

pub(crate) fn mitigation(found: &MitigationReport, done: &Done, ledger: &Ledger) -> wire::Mitigation {
    let selected =
        done.selection.mitigations.iter().find(|s| s.key.feed == found.feed && s.key.id == found.id);
    let entry = selected.and_then(|selected| ledger.mitigations.get(&selected.key));
    wire::Mitigation {
        feed: found.feed.clone(),
        id: found.id.clone(),
        action_type: word(&found.action_type),
        description: found.description.clone(),
        digest: selected.map(|selected| selected.digest.clone()).unwrap_or_default(),
        verdict: found.verdict.to_owned(),
        reason: found.reason.clone(),
        status: word(&found.status),
        in_force: found.in_force,
        applied_at: entry.filter(|_| found.in_force).map(|entry| entry.applied_at),
        proven_at: found.proven_at,
        expires: selected.and_then(|selected| selected.mitigation.expires),
        actions: serde_json::to_value(&found.actions).unwrap_or_default(),
        plan: selected.and_then(|selected| done.prospects.get(&selected.key)).map(plan).unwrap_or_default(),
    }
}

/// What would be done, within bounds.
fn plan(prospect: &Prospect) -> Vec<wire::PlanStep> {
    let steps = prospect.steps.iter().map(|step| wire::PlanStep {
        target: short(&step.target),
        kind: word(&step.kind),
        path: short(&step.path),
        detail: short(&step.detail),
    });
    let cannot = prospect.cannot.iter().map(|(target, why)| wire::PlanStep {
        target: short(target),
        kind: "cannot".to_owned(),
        path: String::new(),
        detail: short(why),
    });
    let mut plan: Vec<wire::PlanStep> = cannot.chain(steps).collect();
    let over = plan.len().saturating_sub(wire::MAX_PLAN_STEPS);
    if over > 0 {
        plan.truncate(wire::MAX_PLAN_STEPS - 1);
        let detail = format!("and {} more", over + 1);
        plan.push(wire::PlanStep { detail, ..wire::PlanStep::default() });
    }
    plan
}

/// A sentence, and not a file.
fn short(whole: &str) -> String {
    const MOST: usize = 300;
    let mut text: String = whole.chars().take(MOST).collect();
    if text.len() < whole.len() {
        text.push('…');
    }
    text
}

/// A word of an enum as JSON has it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn feeds(report: &Report) -> Vec<wire::Feed> {
    let feed = |feed: &stopgap_core::report::FeedReport| wire::Feed {
        name: feed.name.clone(),
        serial: feed.serial,
        trusted_at: feed.trusted_at,
        expires: feed.expires,
        error: feed.error.clone(),
    };
    report.feeds.iter().map(feed).collect()
}

/// Of what a report says, without what changes by itself.
fn fingerprint(report: &ServerReport, failed: &[String]) -> String {
    let mut still =
        ServerReport { sequence: 0, at: Timestamp::UNIX_EPOCH, events: Vec::new(), ..report.clone() };
    still.feeds.iter_mut().for_each(|feed| feed.trusted_at = None);
    still.mitigations.iter_mut().for_each(|mitigation| mitigation.proven_at = None);
    sha256_hex(&serde_json::to_vec(&(still, failed)).unwrap_or_default())
}

fn bound(events: &mut Vec<Happened>) {
    let over = events.len().saturating_sub(MAX_EVENTS);
    events.drain(..over);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_plan_is_cut_and_says_by_how_much() {
        let step = |n: usize| stopgap_core::plan::Step {
            target: "nginx".into(),
            kind: stopgap_core::plan::StepKind::Write,
            path: "é".repeat(1_000),
            detail: n.to_string(),
        };
        let most = wire::MAX_PLAN_STEPS;
        let cannot = vec![("haproxy".to_owned(), "no words for it".to_owned())];
        let whole = plan(&Prospect { steps: (1..most).map(step).collect(), cannot: cannot.clone() });
        assert_eq!((whole.len(), whole[0].kind.as_str(), whole[1].kind.as_str()), (most, "cannot", "write"));
        assert_eq!((whole[1].path.chars().count(), whole[most - 1].detail.as_str()), (301, "49"));
        let cut = plan(&Prospect { steps: (1..most + 10).map(step).collect(), cannot });
        assert_eq!((cut.len(), cut[most - 1].detail.as_str()), (most, "and 11 more"));
        assert!(cut[most - 1].kind.is_empty());
    }

    fn report(at: &str, status: &str, events: &[u16]) -> ServerReport {
        let at: Timestamp = at.parse().unwrap();
        let mut report: ServerReport = serde_json::from_value(serde_json::json!({
            "sequence": 0, "at": at, "agent_version": "1", "mitigations_enabled": true,
            "mitigations": [{"feed": "example", "id": "M1", "type": "UrlRewrite", "verdict": "Applies",
                             "status": status, "in_force": true, "proven_at": at}],
        }))
        .unwrap();
        report.events = events
            .iter()
            .map(|event| Happened { at, event: *event, mitigation: None, text: format!("{event}") })
            .collect();
        report
    }

    #[test]
    fn what_was_told_is_told_again_only_once_an_hour() {
        let mut books = Books::default();
        let mut take = |at: &str, status: &str, events: &[u16]| books.take(report(at, status, events), &[]);
        assert!(take("2026-11-22T03:00:00Z", "Applied", &[1005]));
        assert!(!take("2026-11-22T03:01:00Z", "Applied", &[]), "a proof's time is no news");
        assert!(!take("2026-11-22T03:02:00Z", "Applied", &[1010, 1008]));
        assert!(take("2026-11-22T03:03:00Z", "Partial", &[]));
        assert!(take("2026-11-22T03:04:00Z", "Partial", &[1011]), "a change that was taken back is news");
        assert!(!take("2026-11-22T03:53:00Z", "Partial", &[]));
        assert!(take("2026-11-22T03:54:00Z", "Partial", &[]));
        let sequences: Vec<u64> = books.waiting.iter().map(|report| report.sequence).collect();
        assert_eq!(sequences, [1, 2, 3, 4]);
    }

    #[test]
    fn a_damaged_file_does_not_keep_the_hub_from_what_comes_after() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&stopgap_drivers::Machine, folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("hub")).unwrap();
        std::fs::write(folder.path().join(FILE), "{\"sequence\":7,").unwrap();
        assert_eq!(Books::load(&home, &stopgap_drivers::Machine).unwrap(), Books::default());
    }

    #[test]
    fn a_version_that_cannot_be_read_is_told_with_its_reason() {
        let mut facts: Facts = [("portal", "4.2")].into_iter().collect();
        facts.set_read(std::env::consts::OS, Fact::Unknown("not read".into()));
        facts.set_read("exchange", Fact::Unknown("the file is locked".into()));
        assert_eq!(products(&facts, version), [("portal".to_owned(), "4.2".to_owned())].into());
        let unread = unread_of(&facts);
        assert_eq!(unread.get("exchange").map(String::as_str), Some("the file is locked"));
        assert_eq!(unread.contains_key(std::env::consts::OS), cfg!(windows));
    }

    #[test]
    fn a_failure_is_told_when_it_begins_and_when_it_is_over() {
        let mut books = Books::default();
        let mut take = |minute: u8, failed: &[&str]| {
            let failed: Vec<String> = failed.iter().map(|text| (*text).to_owned()).collect();
            books.take(report(&format!("2026-11-22T03:{minute:02}:00Z"), "Applied", &[]), &failed)
        };
        let found = [take(0, &[]), take(1, &["x"]), take(2, &["x"]), take(3, &[]), take(4, &[])];
        assert_eq!(found, [true, true, false, true, false]);
    }

    #[test]
    fn of_reports_that_wait_long_the_oldest_are_merged_and_no_event_of_a_day_is_lost() {
        let mut books = Books::default();
        for hour in 0..60u32 {
            let at = format!("2026-11-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24);
            assert!(books.take(report(&at, "Applied", &[1005]), &[]));
        }
        assert_eq!(books.waiting.len(), MAX_WAITING);
        assert_eq!(books.waiting.iter().map(|report| report.events.len()).sum::<usize>(), 60);
        assert_eq!(books.waiting.last().unwrap().sequence, 60);
        assert_eq!(books.waiting[0].sequence, 60 - MAX_WAITING as u64 + 1);
        books.waiting[0].events = vec![books.waiting[0].events[0].clone(); 10_000];
        bound(&mut books.waiting[0].events);
        assert_eq!(books.waiting[0].events.len(), MAX_EVENTS);
    }

    #[test]
    fn what_is_kept_waits_no_longer_and_a_disk_that_was_put_back_goes_on_behind_it() {
        let mut books = Books::default();
        books.take(report("2026-11-22T03:00:00Z", "Applied", &[]), &[]);
        books.take(report("2026-11-22T03:01:00Z", "Failed", &[]), &[]);
        books.kept(1);
        assert_eq!(books.waiting.len(), 1);
        books.kept(9);
        assert!(books.waiting.is_empty());
        assert!(books.take(report("2026-11-22T03:02:00Z", "Failed", &[]), &[]), "it is told anew");
        assert_eq!(books.waiting[0].sequence, 10);
        books.kept(u64::MAX);
        assert!(books.take(report("2026-11-22T03:03:00Z", "Applied", &[]), &[]));
        assert_eq!(books.waiting[0].sequence, FARTHEST + 1);
    }
}
