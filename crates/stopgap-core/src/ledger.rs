//! The ledger: what this agent put on this server, with everything that repair, retirement and
//! revert need when there is no feed and no valid certificate any more.
//!
//! It is one human-readable file; reading and replacing it is the agent's work.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_feed::document::{DocumentError, Mitigation};
use stopgap_feed::{Id, Key};

use crate::observed::{Hold, Live};
use crate::proof::{Answer, Proof};

/// Everything that is in force by our hand, and what stands in the way of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// By `feed:id`.
    pub mitigations: BTreeMap<Key, Entry>,
    /// By target: the set that we left there, and other hands on it.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetEntry>,
    /// The latest failure of each mitigation, until it succeeds.
    #[serde(default)]
    pub failures: BTreeMap<Key, Failure>,
    /// Since when the revision that the feed brings is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<Key, Known>,
}

/// One revision of a mitigation, and since when it is known. A feed that is signed again bears a later
/// date, and a server whose turn came each time anew would never get its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// SHA-256 of its octets, in hex.
    pub digest: String,
    /// The publisher's date of the document in which it was seen first.
    pub since: Timestamp,
}

/// One applied mitigation, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The `Config` element as it was verified.
    pub octets: String,
    /// SHA-256 of the octets, in hex.
    pub digest: String,
    /// When the feed that brought it was verified.
    pub trusted_at: Timestamp,
    /// When it was first put on.
    pub applied_at: Timestamp,
    /// Since when the server no longer needs it; the soak runs from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_since: Option<Timestamp>,
    /// The latest proof at each listener.
    #[serde(default)]
    pub proofs: Vec<ProofRecord>,
    /// What each listener answered before the mitigation was first put on: a revision of it finds
    /// the attack already refused, and is proven against these.
    #[serde(default)]
    pub baselines: Vec<Baseline>,
    /// Revisions before this one that a target still holds, by their digest: where the new one could
    /// not be put on, the old one stays and is repaired.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, String>,
}

/// The answer to one probe at one listener, without the mitigation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The listener, as `https://127.0.0.1:443`.
    pub listener: String,
    /// The site's name.
    pub site: String,
    /// The probe's request head.
    pub head: String,
    /// What came back.
    pub answer: Answer,
}

/// Why a mitigation is not in force although it applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the octets that failed, in hex.
    pub digest: String,
    /// What happened.
    pub why: String,
    /// It harmed the server and was reverted, or killed the agent: this revision is not tried again by
    /// itself, since every try would do that again.
    pub harmed: bool,
    /// How often it failed in a row.
    #[serde(default)]
    pub tries: u32,
    /// How often the agent died in a row while it put this on.
    #[serde(default)]
    pub deaths: u32,
}

/// A mitigation that was alone in its change at so many deaths of the agent in a row is not tried again by
/// itself. One death may be a power cut, an operator's `kill -9`, or memory that somebody else ate.
pub const FATAL_DEATHS: u32 = 2;

/// What a probe showed at one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRecord {
    /// The target's name.
    pub target: String,
    /// The site's name.
    pub site: String,
    /// The listener, as `https://127.0.0.1:443`.
    pub listener: String,
    /// The action.
    pub action: Id,
    /// What was shown.
    pub proof: Proof,
    /// When.
    pub at: Timestamp,
    /// Why it is not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What we left on a target, and other hands on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// The set that we made live, by its digest; `None`: nothing of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// What that set holds.
    #[serde(default)]
    pub holds: Vec<Hold>,
    /// Our work was found undone and is not repaired yet: one reversal counts once.
    #[serde(default)]
    pub undone: bool,
    /// When our work was found undone, within the last hour.
    #[serde(default)]
    pub reversals: Vec<Timestamp>,
    /// Since when we no longer repair, and what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// When changes began, one after another, in which the agent died and which put nothing on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deaths: Vec<Timestamp>,
}

/// The end of a contest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// When.
    pub at: Timestamp,
    /// The file and what was found in it.
    pub found: String,
}

/// After so many reversals from outside within [`CONTEST_WINDOW`] the agent stops repairing: two
/// programs that undo each other's work harm the server more than either state does.
pub const CONTEST_REVERSALS: usize = 3;

/// See [`CONTEST_REVERSALS`].
pub const CONTEST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

impl Entry {
    /// The mitigation, read from the octets that were trusted once.
    pub fn mitigation(&self) -> Result<Mitigation, DocumentError> {
        Mitigation::from_octets(&self.octets)
    }

    /// The revision with this digest, if it is kept and can still be read.
    pub fn revision(&self, digest: &str) -> Option<Mitigation> {
        let octets = if self.digest == digest { &self.octets } else { self.earlier.get(digest)? };
        Mitigation::from_octets(octets).ok()
    }

    /// Takes a new revision. The one before is kept until [`Ledger::forget_earlier`].
    pub fn renew(&mut self, octets: &str, digest: &str, trusted_at: Timestamp) {
        if self.digest == digest {
            return;
        }
        let before = std::mem::replace(&mut self.octets, octets.to_owned());
        self.earlier.insert(std::mem::replace(&mut self.digest, digest.to_owned()), before);
        self.trusted_at = trusted_at;
    }
}

impl Ledger {
    /// Compares a target with what we left there. Returns whether it may be changed: not, once we
    /// gave up repairing it.
    pub fn note_observed(&mut self, target: &str, live: &Live, now: Timestamp) -> bool {
        let entry = self.targets.entry(target.to_owned()).or_default();
        if entry.given_up.is_some() {
            return false;
        }
        let found = match live.foreign.first() {
            Some(foreign) => foreign.clone(),
            None if live.set == entry.set => {
                entry.undone = false;
                return true;
            }
            None => format!(
                "the live set is {}, and we left {}",
                live.set.as_deref().unwrap_or("gone"),
                entry.set.as_deref().unwrap_or("none")
            ),
        };
        if !entry.undone {
            entry.undone = true;
            entry.reversals.retain(|at| now.duration_since(*at) < CONTEST_WINDOW);
            entry.reversals.push(now);
        }
        if entry.reversals.len() >= CONTEST_REVERSALS {
            entry.given_up = Some(GivenUp { at: now, found });
        }
        entry.given_up.is_none()
    }

    /// Notes the set that we left on a target.
    pub fn note_left(&mut self, target: &str, set: Option<String>, holds: Vec<Hold>) {
        let entry = self.targets.entry(target.to_owned()).or_default();
        (entry.set, entry.holds, entry.undone) = (set, holds, false);
    }

    /// Drops the earlier revisions that no target holds any more.
    pub fn forget_earlier(&mut self) {
        let held = |key: &Key, digest: &str| {
            let mut holds = self.targets.values().flat_map(|target| &target.holds);
            holds.any(|hold| hold.key == *key && hold.digest == digest)
        };
        for (key, entry) in &mut self.mitigations {
            entry.earlier.retain(|digest, _| held(key, digest));
        }
    }

    /// The targets where we left something of a mitigation.
    pub fn holding<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a str> {
        let holds = move |entry: &TargetEntry| entry.holds.iter().any(|hold| hold.key == *key);
        self.targets.iter().filter(move |(_, entry)| holds(entry)).map(|(name, _)| name.as_str())
    }

    /// Since when a revision is known, if it was seen before.
    pub fn known_since(&self, key: &Key, digest: &str) -> Option<Timestamp> {
        self.known.get(key).filter(|known| known.digest == digest).map(|known| known.since)
    }

    /// Notes a failure of one revision, on top of those before.
    pub fn note_failure(&mut self, key: &Key, digest: &str, why: &str, harmed: bool, now: Timestamp) {
        let before = self.failures.get(key).filter(|failure| failure.digest == digest);
        let failure = Failure {
            at: now,
            digest: digest.to_owned(),
            why: why.to_owned(),
            harmed,
            tries: before.map_or(0, |before| before.tries).saturating_add(1),
            deaths: before.map_or(0, |before| before.deaths),
        };
        self.failures.insert(key.clone(), failure);
    }

    /// Notes that the agent died while it put these on, at `when`. It is counted once, however often the
    /// same change is found; the last of [`FATAL_DEATHS`] in which a revision was alone ends its trials.
    pub fn note_death(&mut self, put_on: &[(Key, String)], when: Timestamp) {
        let alone = put_on.len() == 1;
        for (key, digest) in put_on {
            let before = self.failures.get(key).filter(|failure| failure.digest == *digest).cloned();
            let (tries, deaths) = before.as_ref().map_or((0, 0), |before| (before.tries, before.deaths));
            if before.is_some_and(|before| before.harmed || (before.deaths > 0 && before.at == when)) {
                continue;
            }
            let deaths = deaths.saturating_add(1);
            let fatal = alone && deaths >= FATAL_DEATHS;
            let why = match (fatal, deaths >= FATAL_DEATHS) {
                (true, _) => {
                    format!("skipped after the agent died while applying it, {deaths} times in a row")
                }
                (false, true) => {
                    "the agent died twice while applying several; each is tried alone".to_owned()
                }
                (false, false) => "the agent died while applying it; it is tried once more".to_owned(),
            };
            let (digest, tries) = (digest.clone(), tries.saturating_add(1));
            self.failures
                .insert(key.clone(), Failure { at: when, digest, why, harmed: fatal, tries, deaths });
        }
    }

    /// Notes that the agent died in a change of `target`, begun at `when`, that only took off or repaired: there is no
    /// mitigation to skip, so it is counted for the target. Returns whether it was the last that is tried.
    pub fn note_target_death(&mut self, target: &str, when: Timestamp) -> bool {
        let deaths = &mut self.targets.entry(target.to_owned()).or_default().deaths;
        if deaths.contains(&when) || deaths.len() >= FATAL_DEATHS as usize {
            return false;
        }
        deaths.push(when);
        deaths.len() >= FATAL_DEATHS as usize
    }

    /// Whether the agent died so often while it changed `target` that it leaves it as it is.
    pub fn is_deadly(&self, target: &str) -> bool {
        self.targets.get(target).is_some_and(|entry| entry.deaths.len() >= FATAL_DEATHS as usize)
    }

    /// Whether this revision is to be put on in a change of its own, to learn which one kills the agent.
    pub fn suspect(&self, key: &Key, digest: &str) -> bool {
        let of_it = self.failures.get(key).filter(|failure| failure.digest == digest);
        of_it.is_some_and(|failure| !failure.harmed && failure.deaths >= FATAL_DEATHS)
    }

    /// Whether we stopped repairing `target`.
    pub fn contested(&self, target: &str) -> Option<&GivenUp> {
        self.targets.get(target).and_then(|entry| entry.given_up.as_ref())
    }

    /// Whether this revision harmed the server before and is not to be tried by itself.
    pub fn harmed(&self, key: &Key, digest: &str) -> Option<&Failure> {
        self.failures.get(key).filter(|failure| failure.harmed && failure.digest == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        "2026-11-22T03:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn live(set: Option<&str>) -> Live {
        Live { set: set.map(str::to_owned), ..Live::default() }
    }

    #[test]
    fn the_third_reversal_within_an_hour_ends_the_repairs() {
        let mut ledger = Ledger::default();
        let mut undo_at = |minute| {
            ledger.note_left("nginx", Some("ours".into()), vec![]);
            assert_eq!(
                ledger.note_observed("nginx", &live(Some("ours")), at(minute)),
                ledger.contested("nginx").is_none()
            );
            ledger.note_observed("nginx", &live(None), at(minute))
        };
        assert!(undo_at(0));
        assert!(undo_at(30));
        assert!(undo_at(61), "the first is over an hour old");
        assert!(!undo_at(62));
        assert!(!undo_at(600), "only an operator ends it");
        assert_eq!(ledger.contested("nginx").unwrap().found, "the live set is gone, and we left ours");
        assert!(ledger.note_observed("gateway", &live(None), at(600)));
    }

    #[test]
    fn one_reversal_counts_once_however_often_it_is_seen() {
        let mut ledger = Ledger::default();
        ledger.note_left("nginx", Some("ours".into()), vec![]);
        for minute in 0..10 {
            assert!(ledger.note_observed("nginx", &live(None), at(minute)));
        }
        let edited = Live { foreign: vec!["server.conf was edited".into()], ..live(Some("ours")) };
        ledger.note_left("nginx", Some("ours".into()), vec![]);
        assert!(ledger.note_observed("nginx", &edited, at(11)));
        assert_eq!(ledger.targets["nginx"].reversals.len(), 2);
    }

    #[test]
    fn a_revision_is_kept_as_long_as_a_target_holds_it() {
        let octets = |desc: &str| {
            format!(
                "<Config id=\"M1\" desc=\"{desc}\"><ActionList><Action id=\"M1.1\" type=\"DoNothing\" \
                 scope=\"Server\" desc=\"x\"><Value>DoNothing</Value></Action></ActionList></Config>"
            )
        };
        let key: Key = "example:M1".parse().unwrap();
        let entry = Entry {
            octets: octets("old"),
            digest: "one".into(),
            trusted_at: at(0),
            applied_at: at(0),
            fixed_since: None,
            proofs: vec![],
            baselines: vec![],
            earlier: BTreeMap::new(),
        };
        let mut ledger = Ledger::default();
        ledger.mitigations.insert(key.clone(), entry);
        let hold = |digest: &str| Hold {
            key: key.clone(),
            action: "M1.1".parse().unwrap(),
            digest: digest.into(),
            sites: vec![],
            observe: false,
        };
        ledger.note_left("nginx", Some("set".into()), vec![hold("one")]);
        ledger.mitigations.get_mut(&key).unwrap().renew(&octets("new"), "two", at(1));
        ledger.forget_earlier();
        let description = |ledger: &Ledger, digest| {
            ledger.mitigations[&key].revision(digest).map(|mitigation| mitigation.description)
        };
        assert_eq!(description(&ledger, "one").as_deref(), Some("old"));
        assert_eq!(description(&ledger, "two").as_deref(), Some("new"));
        ledger.note_left("nginx", Some("next".into()), vec![hold("two")]);
        ledger.forget_earlier();
        assert_eq!(description(&ledger, "one"), None);
    }

    #[test]
    fn the_second_death_in_a_row_of_one_alone_ends_its_trials() {
        let key: Key = "example:M1".parse().unwrap();
        let one = [(key.clone(), "one".to_owned())];
        let mut ledger = Ledger::default();
        ledger.note_death(&one, at(0));
        ledger.note_death(&one, at(0));
        assert_eq!(ledger.failures[&key].deaths, 1, "found twice, it is the same death");
        assert!(ledger.harmed(&key, "one").is_none());
        ledger.note_death(&one, at(1));
        assert!(ledger.harmed(&key, "one").unwrap().why.starts_with("skipped after the agent died"));
        assert!(ledger.harmed(&key, "two").is_none(), "another revision is another matter");

        let mut ledger = Ledger::default();
        ledger.note_death(&one, at(0));
        ledger.note_failure(&key, "one", "the server's test", false, at(1));
        ledger.failures.remove(&key);
        ledger.note_death(&one, at(2));
        assert!(ledger.harmed(&key, "one").is_none(), "it was in force in between");
    }

    #[test]
    fn of_several_at_two_deaths_each_is_tried_alone_and_only_the_guilty_one_is_skipped() {
        let named = |id: &str| (id.parse::<Key>().unwrap(), "d".to_owned());
        let both = [named("example:M1"), named("example:M2")];
        let mut ledger = Ledger::default();
        ledger.note_death(&both, at(0));
        assert!(!both.iter().any(|(key, digest)| ledger.suspect(key, digest)));
        ledger.note_death(&both, at(1));
        assert!(both.iter().all(|(key, digest)| ledger.suspect(key, digest)));
        assert!(both.iter().all(|(key, digest)| ledger.harmed(key, digest).is_none()));
        ledger.note_death(&both[1..], at(2));
        assert!(ledger.harmed(&both[1].0, "d").is_some());
        assert!(ledger.suspect(&both[0].0, "d") && !ledger.suspect(&both[1].0, "d"));
    }

    #[test]
    fn what_harmed_is_remembered_for_that_revision_alone() {
        let mut ledger = Ledger::default();
        let key: Key = "example:M1".parse().unwrap();
        ledger.note_failure(&key, "one", "500", true, at(0));
        assert!(ledger.harmed(&key, "one").is_some());
        assert!(ledger.harmed(&key, "two").is_none());
    }
}
