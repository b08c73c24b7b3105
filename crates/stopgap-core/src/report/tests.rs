use super::*;
use crate::facts::Facts;
use crate::ledger::{GivenUp, ProofRecord};
use crate::observed::{Gap, Hold, Hook, Listener, Live, Site};
use crate::policy::Policy;
use crate::select::{FeedView, TargetView, select};
use stopgap_feed::document::{Action, Document, Mitigation, Scope};

fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

fn key() -> Key {
    "example:M1".parse().unwrap()
}

/// A server with two sites; M1 is for both.
struct Scene {
    observed: Observed,
    ledger: Ledger,
    failures: Failures,
}

impl Scene {
    fn new(held: &[&str]) -> Scene {
        let site = |name: &str, port: u16| Site {
            name: name.into(),
            hook: Hook::Present,
            listeners: vec![Listener {
                tls: false,
                address: ([127, 0, 0, 1], port).into(),
                host: name.into(),
            }],
        };
        let hold = Hold {
            key: key(),
            action: "M1.1".parse().unwrap(),
            digest: "d".into(),
            sites: held.iter().map(|s| (*s).to_owned()).collect(),
            observe: false,
        };
        let entry = crate::ledger::Entry {
            octets: String::new(),
            digest: "d".into(),
            trusted_at: now(),
            applied_at: now(),
            fixed_since: None,
            proofs: vec![],
            baselines: vec![],
            earlier: Default::default(),
        };
        Scene {
            observed: Observed {
                target: "nginx".into(),
                live: Live {
                    set: Some("s".into()),
                    holds: if held.is_empty() { vec![] } else { vec![hold] },
                    foreign: vec![],
                    ..Live::default()
                },
                sites: vec![site("a", 81), site("b", 82)],
                warnings: vec![],
                lacks: Default::default(),
                files: Default::default(),
            },
            ledger: Ledger { mitigations: [(key(), entry)].into(), ..Ledger::default() },
            failures: Failures::new(),
        }
    }

    fn prove(mut self, site: &str, port: u16, proof: Proof) -> Scene {
        let record = ProofRecord {
            target: "nginx".into(),
            site: site.into(),
            listener: format!("http://127.0.0.1:{port}"),
            action: "M1.1".parse().unwrap(),
            proof,
            at: now(),
            why: (proof != Proof::Proven).then(|| "the attack still gets status 200".into()),
        };
        self.ledger.mitigations.get_mut(&key()).unwrap().proofs.push(record);
        self
    }

    fn report(&self) -> MitigationReport {
        let document = Document {
            version: "2.0".into(),
            feed: None,
            serial: None,
            issued: None,
            expires: None,
            mitigations: vec![Mitigation {
                id: "M1".parse().unwrap(),
                description: "SSRF".into(),
                severity: None,
                cve: vec![],
                supersedes: None,
                expires: None,
                applicability: None,
                actions: vec![Action {
                    id: "M1.1".parse().unwrap(),
                    description: String::new(),
                    scope: Scope::Site,
                    target: None,
                    platform: None,
                    kind: ActionKind::UrlRewrite { rewrite: String::new() },
                }],
                probes: vec![],
                rollout: vec![],
                side_effects: vec![],
                rollback: None,
                unsupported: vec![],
                octets: String::new(),
            }],
            withdrawn: vec![],
            warnings: vec![],
        };
        let targets = [TargetView {
            name: "nginx".into(),
            facts: Facts::default(),
            sites: BTreeMap::new(),
            takes: &[ActionType::UrlRewrite],
        }];
        let feeds = [FeedView::of_document("example", &document, now())];
        let selection = select(&feeds, &targets, &Facts::default(), &Policy::default(), &self.ledger, now());
        let observed = std::slice::from_ref(&self.observed);
        report(&selection, observed, &self.ledger, &self.failures, vec![], None).mitigations.remove(0)
    }

    fn status(&self) -> (Status, Option<String>) {
        let report = self.report();
        (report.status, report.reason)
    }
}

#[test]
fn in_force_and_proven_on_every_site_is_applied() {
    let scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven).prove("b", 82, Proof::Proven);
    assert_eq!(scene.status(), (Status::Applied, None));
    let json = serde_json::to_value(scene.report()).unwrap();
    let expected = serde_json::json!({
        "feed": "example", "id": "M1", "type": "UrlRewrite", "description": "SSRF",
        "verdict": "Applies", "reason": null, "status": "Applied", "in_force": true,
        "proven_at": "2026-11-22T03:00:00Z",
        "actions": [{"id": "M1.1", "targets": [
            {"target": "nginx", "site": "a", "listener": "http://127.0.0.1:81", "in_force": true, "proof": "proven"},
            {"target": "nginx", "site": "b", "listener": "http://127.0.0.1:82", "in_force": true, "proof": "proven"},
        ]}],
    });
    assert_eq!(json, expected);
}

#[test]
fn a_site_without_the_hook_makes_it_partial_and_is_named() {
    let mut scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven);
    scene.observed.sites[1].hook = Hook::Missing("no include in server at nginx.conf:12".into());
    let (status, reason) = scene.status();
    assert_eq!(status, Status::Partial);
    assert_eq!(reason.unwrap(), "1 of 2 sites; not on b (no include in server at nginx.conf:12)");
}

#[test]
fn a_site_without_what_its_own_rules_need_is_named_with_it() {
    let mut scene = Scene::new(&["a"]).prove("a", 81, Proof::Proven);
    scene.observed.lacks.insert(crate::observed::lack_at("b"), "b.conf:1 lacks an include".into());
    let (status, reason) = scene.status();
    assert_eq!(status, Status::Partial);
    assert_eq!(reason.unwrap(), "1 of 2 sites; not on b (b.conf:1 lacks an include)");
}

#[test]
fn a_part_of_a_site_where_it_is_undone_is_named_with_the_reason() {
    let mut scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven).prove("b", 82, Proof::Proven);
    let why = "<clear> in line 7 of web.config";
    let gap = Gap { key: key(), action: "M1.1".parse().unwrap(), place: "a/owa".into(), why: why.into() };
    scene.observed.lacks.insert(crate::observed::lack_at("a/owa"), why.into());
    scene.observed.live.gaps.push(gap);
    let (status, reason) = scene.status();
    assert_eq!(status, Status::Partial);
    assert_eq!(reason.unwrap(), "2 of 3 sites; not on a/owa (<clear> in line 7 of web.config)");
}

#[test]
fn what_no_probe_has_shown_is_unproven() {
    let scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven);
    assert_eq!(scene.status(), (Status::Unproven, Some("no probe has shown it on b".into())));
}

#[test]
fn an_attack_that_passes_is_ineffective() {
    let scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven).prove("b", 82, Proof::Ineffective);
    assert_eq!(scene.status(), (Status::Ineffective, Some("the attack still gets status 200".into())));
}

#[test]
fn in_force_is_what_was_observed_and_not_what_the_ledger_says() {
    let scene = Scene::new(&[]).prove("a", 81, Proof::Proven);
    let report = scene.report();
    assert!(!report.in_force);
    assert_eq!(report.status, Status::Scheduled);
    assert_eq!(report.proven_at, None);
}

#[test]
fn a_failure_and_a_contest_are_told() {
    let mut scene = Scene::new(&[]);
    scene.failures.insert(key(), "nginx rejects the staged rules".into());
    assert_eq!(scene.status(), (Status::Failed, Some("nginx rejects the staged rules".into())));
    let given_up = GivenUp { at: now(), found: "server.conf was edited".into() };
    scene.ledger.targets.entry("nginx".into()).or_default().given_up = Some(given_up);
    assert_eq!(scene.status().0, Status::Contested);
}

#[test]
fn an_earlier_revision_in_force_does_not_hide_that_the_new_one_failed() {
    let mut scene = Scene::new(&["a", "b"]).prove("a", 81, Proof::Proven).prove("b", 82, Proof::Proven);
    assert_eq!(scene.status().0, Status::Applied);
    scene.failures.insert(key(), "a legitimate request got status 500".into());
    let report = scene.report();
    assert_eq!((report.status, report.in_force), (Status::Failed, true));
    assert!(report.reason.unwrap().starts_with("an earlier revision stays in force: "));
}
