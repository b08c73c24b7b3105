//! Every mitigation of the project's own `mitigations/`: nothing is listed here, so what is added there is held
//! to the same.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_core::applicability::{Applicability, judge};
use stopgap_core::facts::{ECOSYSTEM, Facts, Installed, Packages};
use stopgap_feed::document::{ActionKind, Condition, Document, Product, VersionScheme};
use stopgap_feed::limits::Limits;
use stopgap_publish::assemble::{Release, assemble};
use stopgap_publish::folder::{self, MitigationFolder};
use stopgap_publish::forge::Declared;
use stopgap_publish::lint::{Level, Settings, lint};
use stopgap_publish::prove::{ProofReport, Samples, prove};
use stopgap_publish::requests::SampleRequest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mitigations")
}

fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

/// The whole catalogue as one unsigned document.
fn document(mitigations: &[MitigationFolder]) -> (String, Document) {
    let release = Release {
        feed: "example".parse().unwrap(),
        serial: 1,
        issued: now(),
        expires: "2026-12-06T03:00:00Z".parse().unwrap(),
        withdrawn: Vec::new(),
    };
    let configs: Vec<_> = mitigations.iter().map(|m| (m.id.clone(), m.config.as_str())).collect();
    let text = assemble(&release, &configs).unwrap();
    let document = Document::from_unsigned(text.as_bytes(), &Limits::default()).unwrap();
    (text, document)
}

fn proven(mitigations: Vec<MitigationFolder>) -> ProofReport {
    let (_, document) = document(&mitigations);
    let samples: BTreeMap<_, _> = mitigations
        .into_iter()
        .map(|m| {
            (
                m.id,
                Samples { attack: m.attack, benign: m.benign, responses: m.responses, declared: m.declared },
            )
        })
        .collect();
    prove(&document, &samples)
}

#[test]
fn every_attack_is_refused_every_benign_request_passes_and_no_mutant_survives() {
    let report = proven(folder::catalogue(&root()).unwrap());
    for broken in &report.broken {
        println!("{}: {}", broken.action, broken.reason);
    }
    report.failed().for_each(|case| println!("{case}"));
    for forged in report.forged.iter().filter(|forged| forged.survived > 0) {
        println!("{} ({}): {} of {} survive", forged.mitigation, forged.name, forged.survived, forged.tried);
        for survivor in &forged.survivors {
            println!("    {:?}: {:?}", survivor.mutation, survivor.head);
        }
    }
    println!("{} requests, {} mutants, {} survive", report.cases.len(), report.tried(), report.survived());
    assert!(report.is_proven() && report.survived() == 0);
    let none: Vec<&str> = report.without_literal.iter().map(|rule| rule.rule.as_str()).collect();
    assert!(none.is_empty(), "rules that every request is held against: {none:?}");
}

#[test]
fn the_linter_finds_nothing_that_would_hold_it_up() {
    let mitigations = folder::catalogue(&root()).unwrap();
    let (text, document) = document(&mitigations);
    let findings = lint(text.as_bytes(), &Settings { now: now(), horizon_days: 4 });
    let grave: Vec<_> = findings.iter().filter(|finding| finding.level > Level::Note).collect();
    assert!(grave.is_empty(), "{grave:#?}");
    assert_eq!(document.mitigations.len(), mitigations.len());
    for mitigation in &document.mitigations {
        assert!(mitigation.unsupported.is_empty(), "{}: {:?}", mitigation.id, mitigation.unsupported);
    }
}

#[test]
fn every_mitigation_has_its_page_and_what_acts_is_tried() {
    for entry in fs::read_dir(root()).unwrap() {
        let dir = entry.unwrap().path();
        if !dir.is_dir() {
            continue;
        }
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let readme = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}")), "{name}");
        let mitigation =
            folder::catalogue(&root()).unwrap().into_iter().find(|m| m.id.as_str() == name).unwrap();
        let (_, document) = document(std::slice::from_ref(&mitigation));
        let actions = &document.mitigations[0].actions;
        let is_drill = name.starts_with("DRILL");
        if actions.iter().any(|action| !matches!(action.kind, ActionKind::DoNothing)) && !is_drill {
            for section in ["## Side effects", "## How it can be bypassed", "## Sources"] {
                assert!(readme.contains(section), "{name}: no section {section:?}");
            }
        }
        if actions.iter().any(|action| matches!(action.kind, ActionKind::UrlRewrite { .. })) {
            let tried = !mitigation.attack.is_empty() || !mitigation.responses.is_empty();
            assert!(tried && !mitigation.benign.is_empty(), "{name} has requests of both kinds");
        }
        for declared in &mitigation.declared.not_applicable {
            assert!(declared.reason.len() > 20, "{name}: {:?} has its reason", declared.mutation);
        }
    }
}

#[test]
fn attacks_and_probes_reach_nobody() {
    for mitigation in folder::catalogue(&root()).unwrap() {
        let (_, document) = document(std::slice::from_ref(&mitigation));
        let probes = document.mitigations[0].probes.iter().map(|probe| probe.head.clone());
        let samples = mitigation.attack.iter().chain(&mitigation.benign).map(|request| request.head.clone());
        for head in probes.chain(samples) {
            for place in head.match_indices("://").map(|(at, _)| &head[at + 3..]) {
                let authority = place.split(['/', '}', '"', '?', ' ', '\r', '&']).next().unwrap();
                let host = authority.rsplit('.').next().unwrap();
                assert!(
                    matches!(host, "example" | "org" | "none" | "${env:HOSTNAME"),
                    "{authority} in {head}"
                );
            }
            for line in head.lines().filter_map(|line| line.strip_prefix("Host: ")) {
                assert!(line.ends_with(".example.org"), "{}: {line}", mitigation.id);
            }
        }
    }
}

fn products(condition: &Condition) -> Vec<&Product> {
    match condition {
        Condition::Product(product) => vec![product],
        Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(products).collect(),
    }
}

#[test]
fn what_debian_ships_is_judged_by_debians_own_numbers() {
    let (_, document) = document(&folder::catalogue(&root()).unwrap());
    let all = document.mitigations.iter().flat_map(|m| m.applicability.iter().flat_map(products));
    let packages: Vec<&Product> = all.filter(|product| product.ecosystem.is_some()).collect();
    for product in &packages {
        assert_eq!(product.scheme, VersionScheme::Dpkg, "{}", product.name);
        assert_eq!(product.ecosystem.as_deref(), Some("Debian:12"), "{}", product.name);
        assert!(product.ranges.iter().all(|range| range.below.is_some()), "{}", product.name);
    }
    assert!(packages.len() >= 3);
}

/// The fixed version is not affected, and whatever comes before it is; on another release neither counts.
#[test]
fn a_fixed_package_ends_what_an_older_one_needs() {
    let (_, document) = document(&folder::catalogue(&root()).unwrap());
    for mitigation in &document.mitigations {
        let Some(condition) = &mitigation.applicability else { continue };
        for product in products(condition).into_iter().filter(|product| product.ecosystem.is_some()) {
            let fixed = product.ranges[0].below.clone().unwrap();
            let holds = |ecosystem: &str, version: &str| {
                let mut facts: Facts = [(ECOSYSTEM, ecosystem)].into_iter().collect();
                let mut installed = Installed::default();
                installed.insert(("some-binary", version), (&product.name, version));
                facts.set_packages(Packages::Installed(installed));
                matches!(judge(Some(condition), &facts), Applicability::Holds(_))
            };
            assert!(!holds("Debian:12", &fixed), "{} {fixed}", mitigation.id);
            assert!(holds("Debian:12", &format!("{fixed}~")), "{} before {fixed}", mitigation.id);
            assert!(!holds("Debian:13", &format!("{fixed}~")), "{} on Debian 13", mitigation.id);
        }
    }
}

/// The table of `M1/history/README.md`: a row for each revision, a column for each request of `attack.http`.
#[test]
fn each_revision_of_m1_lets_through_what_its_history_says() {
    let readme = fs::read_to_string(root().join("M1/history/README.md")).unwrap();
    let m1 = m1();
    for revision in ["R1", "R2", "R3", "R4"] {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {revision} |"))).unwrap();
        let expected: String = row.split('|').skip(3).map(str::trim).collect();
        let report = proven(vec![with_rule(&m1, revision, m1.attack.clone())]);
        let cases = report.cases.iter().filter(|case| case.source == "attack.http");
        let failed: Vec<&str> = report.failed().map(|case| case.name.as_str()).collect();
        let found: String =
            cases.map(|case| if failed.contains(&case.name.as_str()) { '.' } else { 'x' }).collect();
        assert_eq!(found, expected, "{revision}");
    }
}

/// What the bench would have said in the first hour, with the one request that was known.
#[test]
fn the_forge_finds_what_bypassed_the_first_three_revisions_of_m1() {
    let m1 = m1();
    for (revision, found) in [("R1", true), ("R2", true), ("R3", true), ("R4", false)] {
        let report = proven(vec![with_rule(&m1, revision, vec![m1.attack[0].clone()])]);
        let kinds: std::collections::BTreeSet<String> =
            report.forged[0].survivors.iter().map(|s| format!("{:?}", s.mutation)).collect();
        println!("{revision}: {} of {} mutants pass: {kinds:?}", report.survived(), report.tried());
        assert_eq!(report.survived() > 0, found, "{revision}");
    }
}

fn m1() -> MitigationFolder {
    folder::catalogue(&root()).unwrap().into_iter().find(|m| m.id.as_str() == "M1").unwrap()
}

/// M1 with the rule of a revision in place of its own.
fn with_rule(m1: &MitigationFolder, revision: &str, attack: Vec<SampleRequest>) -> MitigationFolder {
    let rule = fs::read_to_string(root().join(format!("M1/history/{revision}.xml"))).unwrap();
    let start = m1.config.find("<rewrite>").unwrap();
    let end = m1.config.find("</rewrite>").unwrap() + "</rewrite>".len();
    let config = format!("{}{}{}", &m1.config[..start], rule.trim(), &m1.config[end..]);
    let declared: Declared = m1.declared.clone();
    MitigationFolder { config, attack, declared, ..m1.clone() }
}

#[test]
fn the_last_revision_of_m1_is_the_one_that_is_released() {
    let text = |rewrite: &str| {
        let tree = roxmltree::Document::parse(rewrite).unwrap();
        let add = tree.descendants().find(|node| node.has_tag_name("add")).unwrap();
        (add.attribute("input").unwrap().to_owned(), add.attribute("pattern").unwrap().to_owned())
    };
    let released = m1().config;
    let last = fs::read_to_string(root().join("M1/history/R4.xml")).unwrap();
    assert_eq!(text(&released), text(&last));
}
