//! What Prometheus is told of the agent: a text file for node_exporter's textfile collector, replaced after
//! each cycle (`metrics` in `stopgap.toml`). docs/metrics.md lists the names, which are API.
//!
//! A file and no listener: a process that runs as root needs no port for this, and what was last observed can
//! still be read when it is down. The format is Prometheus' text format 0.0.4, the only one that the collector
//! reads. Nothing in it is secret: names of feeds, mitigations and targets, numbers and times.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use stopgap_core::report::{FeedReport, MitigationReport, Report};

use crate::cycle::Done;

/// Counters since the service started; the rest is read from the newest report.
#[derive(Debug, Default)]
pub struct Metrics {
    cycles: u64,
    failed: u64,
    events: BTreeMap<u16, u64>,
    succeeded_at: Option<Timestamp>,
}

impl Metrics {
    /// Counts a cycle. `done`: `None` where it could not be run at all.
    pub fn count(&mut self, done: Option<&Done>, now: Timestamp) {
        self.cycles += 1;
        for event in done.into_iter().flat_map(|done| &done.events) {
            *self.events.entry(event.id()).or_default() += 1;
        }
        if done.is_some_and(|done| !done.failed && !done.reverted) {
            self.succeeded_at = Some(now);
        } else {
            self.failed += 1;
        }
    }

    /// The file: all metrics, each with its help and its type. `took`: the newest cycle.
    pub fn text(&self, report: &Report, now: Timestamp, took: Duration) -> String {
        let mut page = Page::default();
        page.family("stopgap_build_info", "gauge", "The agent's version.");
        page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.cycles(&mut page, now, took);
        feeds(&mut page, &report.feeds);
        mitigations(&mut page, &report.mitigations);
        page.family("stopgap_warnings", "gauge", "What `stopgap status` warns of.");
        page.sample(&[], report.warnings.len());
        page.text
    }

    fn cycles(&self, page: &mut Page, now: Timestamp, took: Duration) {
        page.family("stopgap_cycles_total", "counter", "Cycles since the service started.");
        page.sample(&[], self.cycles);
        page.family("stopgap_cycle_failures_total", "counter", "Cycles in which something failed.");
        page.sample(&[], self.failed);
        page.family("stopgap_last_cycle_timestamp_seconds", "gauge", "When the newest cycle ended.");
        page.sample(&[], now.as_second());
        page.family("stopgap_last_cycle_duration_seconds", "gauge", "How long it took.");
        page.sample(&[], took.as_secs_f64());
        if let Some(at) = self.succeeded_at {
            let help = "When the newest cycle without a failure ended.";
            page.family("stopgap_last_success_timestamp_seconds", "gauge", help);
            page.sample(&[], at.as_second());
        }
        page.family("stopgap_events_total", "counter", "Events by number since the service started.");
        for (event, times) in &self.events {
            page.sample(&[("event", &event.to_string())], times);
        }
    }
}

fn feeds(page: &mut Page, feeds: &[FeedReport]) {
    page.family("stopgap_feed_up", "gauge", "Whether the feed was had and trusted when last asked.");
    for feed in feeds {
        page.sample(&[("feed", feed.name.as_str())], u8::from(feed.error.is_none()));
    }
    page.family("stopgap_feed_serial", "gauge", "The serial that was last trusted.");
    for (feed, serial) in feeds.iter().filter_map(|feed| Some((feed, feed.serial?))) {
        page.sample(&[("feed", feed.name.as_str())], serial);
    }
    page.family("stopgap_feed_trusted_timestamp_seconds", "gauge", "When it was last verified.");
    for (feed, at) in feeds.iter().filter_map(|feed| Some((feed, feed.trusted_at?))) {
        page.sample(&[("feed", feed.name.as_str())], at.as_second());
    }
    page.family("stopgap_feed_expiry_timestamp_seconds", "gauge", "When the trusted document ends.");
    for (feed, at) in feeds.iter().filter_map(|feed| Some((feed, feed.expires?))) {
        page.sample(&[("feed", feed.name.as_str())], at.as_second());
    }
}

fn mitigations(page: &mut Page, mitigations: &[MitigationReport]) {
    page.family(
        "stopgap_mitigation_in_force",
        "gauge",
        "Whether all of it that belongs on the target was observed there.",
    );
    for mitigation in mitigations {
        let id = mitigation.id.to_string();
        for (target, in_force) in by_target(mitigation) {
            let labels = [("feed", mitigation.feed.as_str()), ("id", &id), ("target", target)];
            page.sample(&labels, u8::from(in_force));
        }
    }
    page.family("stopgap_mitigation_status", "gauge", "1 for its status, in the words of `stopgap status`.");
    for mitigation in mitigations {
        let (id, status) = (mitigation.id.to_string(), format!("{:?}", mitigation.status));
        page.sample(&[("feed", mitigation.feed.as_str()), ("id", &id), ("status", &status)], 1);
    }
    page.family("stopgap_mitigation_proven_timestamp_seconds", "gauge", "The newest proof that it works.");
    for (mitigation, at) in mitigations.iter().filter_map(|m| Some((m, m.proven_at?))) {
        page.sample(
            &[("feed", mitigation.feed.as_str()), ("id", &mitigation.id.to_string())],
            at.as_second(),
        );
    }
    page.family("stopgap_mitigations_wanting", "gauge", "How many an operator has to look at.");
    page.sample(&[], mitigations.iter().filter(|mitigation| mitigation.status.is_wanting()).count());
}

/// Each target of a mitigation, and whether it is in force at all of its places there.
fn by_target(mitigation: &MitigationReport) -> impl Iterator<Item = (&str, bool)> {
    let places = || mitigation.actions.iter().flat_map(|action| &action.targets);
    let names: BTreeSet<&str> = places().map(|place| place.target.as_str()).collect();
    names.into_iter().map(move |name| {
        let mut there = places().filter(|place| place.target == name);
        (name, there.all(|place| place.in_force))
    })
}

/// The text as it grows; a family without a sample leaves nothing.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
    head: Option<String>,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        self.head = Some(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.extend(self.head.take());
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}{labels} {value}", self.family);
    }
}

/// A label's value as the format has it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use stopgap_core::proof::Proof;
    use stopgap_core::report::{ActionReport, PlaceReport, Status};
    use stopgap_feed::document::ActionType;

    use super::*;

    fn place(target: &str, in_force: bool) -> PlaceReport {
        PlaceReport {
            target: target.into(),
            site: "mail.example.org".into(),
            listener: None,
            in_force,
            observing: false,
            proof: Proof::Unproven,
            why: None,
        }
    }

    fn a_report() -> Report {
        let at = Timestamp::from_second(1_795_000_000).unwrap();
        Report {
            mitigations: vec![MitigationReport {
                feed: "example".parse().unwrap(),
                id: "M1".parse().unwrap(),
                action_type: ActionType::UrlRewrite,
                description: String::new(),
                verdict: "Applies",
                reason: None,
                status: Status::Partial,
                in_force: true,
                proven_at: Some(at),
                actions: vec![ActionReport {
                    id: "M1.1".parse().unwrap(),
                    targets: vec![place("nginx", true), place("haproxy", true), place("haproxy", false)],
                }],
            }],
            steps: None,
            feeds: vec![FeedReport {
                name: "example".parse().unwrap(),
                serial: Some(42),
                trusted_at: Some(at),
                expires: None,
                error: Some("unreachable".into()),
                message: Some("https://user:secret@feed.example.org: refused".into()),
            }],
            warnings: vec!["one".into()],
            paused: None,
            hub: None,
        }
    }

    #[test]
    fn the_file_holds_every_documented_metric_and_no_message() {
        let now = Timestamp::from_second(1_795_000_060).unwrap();
        let mut metrics = Metrics::default();
        metrics.count(None, now);
        metrics.events.insert(1005, 2);
        metrics.succeeded_at = Some(now);
        let text = metrics.text(&a_report(), now, Duration::from_millis(12));
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                concat!("stopgap_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
                "stopgap_cycles_total 1",
                "stopgap_cycle_failures_total 1",
                "stopgap_last_cycle_timestamp_seconds 1795000060",
                "stopgap_last_cycle_duration_seconds 0.012",
                "stopgap_last_success_timestamp_seconds 1795000060",
                "stopgap_events_total{event=\"1005\"} 2",
                "stopgap_feed_up{feed=\"example\"} 0",
                "stopgap_feed_serial{feed=\"example\"} 42",
                "stopgap_feed_trusted_timestamp_seconds{feed=\"example\"} 1795000000",
                "stopgap_mitigation_in_force{feed=\"example\",id=\"M1\",target=\"haproxy\"} 0",
                "stopgap_mitigation_in_force{feed=\"example\",id=\"M1\",target=\"nginx\"} 1",
                "stopgap_mitigation_status{feed=\"example\",id=\"M1\",status=\"Partial\"} 1",
                "stopgap_mitigation_proven_timestamp_seconds{feed=\"example\",id=\"M1\"} 1795000000",
                "stopgap_mitigations_wanting 1",
                "stopgap_warnings 1",
            ]
        );
        assert!(!text.contains("secret"), "{text}");
        let documented = include_str!("../../../docs/metrics.md");
        for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = family.split(' ').next().unwrap();
            assert!(documented.contains(&format!("`{name}`")), "docs/metrics.md does not tell of {name}");
        }
    }

    #[test]
    fn a_label_ends_where_its_value_ends() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
