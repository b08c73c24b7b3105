//! Diagnostics: what an agent tells a feed's publisher, where DataCollectionEnabled, and what the publisher makes of it.
//!
//! A publisher learns how far its mitigations got and where they do not work. It learns no name, no address, no
//! version of a product, nothing about sites or rules, and nothing that would tell one server from another: two
//! documents of one server cannot be told from those of two.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use stopgap_feed::{FeedName, Id};

use crate::report::{Report, Status};

/// The version of the document. Fields are added and never change their meaning.
pub const VERSION: u32 = 1;
/// Octets of a document, beyond what a feed with some hundred mitigations makes.
pub const MAX_OCTETS: usize = 128 * 1024;
/// Mitigations of a document.
const MAX_MITIGATIONS: usize = 1000;
/// Days that are kept.
const MAX_DAYS: usize = 400;
/// Different versions of agents, and different mitigations, of a day; more are counted as `other`.
const MAX_VERSIONS: usize = 50;
const MAX_IDS: usize = 2000;
/// What stands for whatever is not known.
const OTHER: &str = "other";

/// What is sent, once a day and feed, with exactly these fields (docs/diagnostics.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// [`VERSION`].
    pub version: u32,
    /// The feed.
    pub feed: FeedName,
    /// The serial that was last trusted.
    pub serial: Option<u64>,
    /// The agent's version.
    pub agent: String,
    /// `linux`, `windows` or `other`.
    pub system: String,
    /// This feed's mitigations.
    pub mitigations: Vec<Diagnosed>,
}

/// One mitigation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosed {
    /// Its id.
    pub id: Id,
    /// One word, as in `status`.
    pub status: String,
    /// Whether it is in force.
    pub in_force: bool,
}

/// What this server would tell the publisher of `feed`.
pub fn diagnostics(report: &Report, feed: &FeedName, agent: &str, system: &str) -> Diagnostics {
    let of_feed = report.mitigations.iter().filter(|mitigation| mitigation.feed == *feed);
    let mitigations = of_feed.take(MAX_MITIGATIONS).map(|mitigation| Diagnosed {
        id: mitigation.id.clone(),
        status: mitigation.status.word().to_owned(),
        in_force: mitigation.in_force,
    });
    Diagnostics {
        version: VERSION,
        feed: feed.clone(),
        serial: report.feeds.iter().find(|one| one.name == *feed).and_then(|one| one.serial),
        agent: agent.to_owned(),
        system: system.to_owned(),
        mitigations: mitigations.collect(),
    }
}

/// What became of a feed's mitigations, day by day: documents counted, each server sends one a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// By day, in UTC.
    pub days: BTreeMap<Date, Day>,
}

/// One day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Documents: servers that told.
    pub servers: u64,
    /// By the agent's version.
    pub agents: BTreeMap<String, u64>,
    /// By system.
    pub systems: BTreeMap<String, u64>,
    /// By mitigation.
    pub mitigations: BTreeMap<String, Counts>,
}

/// One mitigation on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Servers where it is in force.
    pub in_force: u64,
    /// By status.
    pub statuses: BTreeMap<String, u64>,
}

impl Adoption {
    /// Counts a document. The error says what is wrong with it.
    pub fn take(&mut self, day: Date, feed: &str, told: &Diagnostics) -> Result<(), String> {
        if told.feed.as_str() != feed {
            return Err(format!(
                "this is the server of feed {feed:?}, and the document is of {:?}",
                told.feed
            ));
        }
        if told.version != VERSION {
            return Err(format!("version {}: expected {VERSION}", told.version));
        }
        if told.mitigations.len() > MAX_MITIGATIONS {
            return Err(format!(
                "{} mitigations: expected at most {MAX_MITIGATIONS}",
                told.mitigations.len()
            ));
        }
        let of = self.days.entry(day).or_default();
        of.servers = of.servers.saturating_add(1);
        let version = if is_version(&told.agent) { told.agent.as_str() } else { OTHER };
        count(&mut of.agents, version, MAX_VERSIONS);
        let system = ["linux", "windows"].into_iter().find(|system| *system == told.system);
        count(&mut of.systems, system.unwrap_or(OTHER), 3);
        for one in &told.mitigations {
            let id = one.id.to_string();
            if !of.mitigations.contains_key(&id) && of.mitigations.len() >= MAX_IDS {
                continue;
            }
            let counts = of.mitigations.entry(id).or_default();
            counts.in_force = counts.in_force.saturating_add(u64::from(one.in_force));
            let status = Status::ALL.iter().map(|status| status.word()).find(|word| *word == one.status);
            count(&mut counts.statuses, status.unwrap_or(OTHER), Status::ALL.len() + 1);
        }
        while self.days.len() > MAX_DAYS {
            self.days.pop_first();
        }
        Ok(())
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str, most: usize) {
    let name = if counts.contains_key(name) || counts.len() < most { name } else { OTHER };
    let count = counts.entry(name.to_owned()).or_default();
    *count = count.saturating_add(1);
}

fn is_version(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(agent: &str, status: &str) -> Diagnostics {
        serde_json::from_value(serde_json::json!({"version": 1, "feed": "example", "serial": 7, "agent": agent,
            "system": "linux", "mitigations": [{"id": "M1", "status": status, "in_force": status == "Applied"}],
            "hostname": "must not be kept"}))
        .unwrap()
    }

    #[test]
    fn a_document_has_exactly_the_fields_that_are_documented() {
        let value = serde_json::to_value(told("0.1.0", "Applied")).unwrap();
        let names: Vec<&String> = value.as_object().unwrap().keys().collect();
        let mut expected = ["version", "feed", "serial", "agent", "system", "mitigations"];
        expected.sort_unstable();
        assert_eq!(names, expected);
        let names: Vec<&String> = value["mitigations"][0].as_object().unwrap().keys().collect();
        assert_eq!(names, ["id", "in_force", "status"]);
    }

    #[test]
    fn a_status_has_the_word_that_reports_have() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.word());
        }
    }

    #[test]
    fn documents_are_counted_by_day_and_what_is_not_known_is_other() {
        let day = |day: i8| Date::constant(2026, 11, day);
        let mut adoption = Adoption::default();
        for (on, agent, status) in
            [(1, "0.1.0", "Applied"), (1, "0.1.0", "Failed"), (1, "<b>", "=cmd"), (2, "0.2.0", "Applied")]
        {
            adoption.take(day(on), "example", &told(agent, status)).unwrap();
        }
        let first = &adoption.days[&day(1)];
        assert_eq!(first.servers, 3);
        assert_eq!(serde_json::to_string(&first.agents).unwrap(), r#"{"0.1.0":2,"other":1}"#);
        let m1 = &first.mitigations["M1"];
        assert_eq!(m1.in_force, 1);
        assert_eq!(serde_json::to_string(&m1.statuses).unwrap(), r#"{"Applied":1,"Failed":1,"other":1}"#);
        assert_eq!(adoption.days[&day(2)].servers, 1);
        assert!(adoption.take(day(2), "intern", &told("1", "Applied")).unwrap_err().contains("\"intern\""));
    }

    #[test]
    fn whoever_sends_a_lot_fills_nothing() {
        let mut adoption = Adoption::default();
        let mut day = Date::constant(2024, 1, 1);
        for version in 0..700 {
            adoption.take(day, "example", &told(&format!("1.{version}"), "Applied")).unwrap();
            adoption
                .take(Date::constant(2030, 1, 1), "example", &told(&format!("1.{version}"), "x"))
                .unwrap();
            day = day.tomorrow().unwrap();
        }
        assert_eq!(adoption.days.len(), MAX_DAYS);
        let crowded = &adoption.days[&Date::constant(2030, 1, 1)];
        assert_eq!((crowded.servers, crowded.agents.len()), (700, MAX_VERSIONS + 1));
    }
}
