//! What the bench refuses, each thing by its own words.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;
use stopgap_publish::prove::{Judgement, ProofReport, Samples, prove};
use stopgap_publish::{requests, responses};

/// One mitigation X1 with these rules and probes, on these samples.
fn bench(rewrite: &str, probes: &str, attack: &str, answers: &str) -> ProofReport {
    let text = format!(
        r#"<EOCS version="2.0" feed="example" serial="1" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z">
<Config id="X1" desc="x"><ActionList><Action id="X1.1" type="UrlRewrite" scope="Site" desc="x">
<rewrite>{rewrite}</rewrite></Action></ActionList><Probes>{probes}</Probes></Config></EOCS>"#
    );
    let document = Document::from_unsigned(text.as_bytes(), &Limits::default()).unwrap();
    assert!(document.mitigations[0].unsupported.is_empty(), "{:?}", document.mitigations[0].unsupported);
    let samples = Samples {
        attack: requests::parse(attack).unwrap(),
        responses: responses::parse(answers).unwrap(),
        ..Samples::default()
    };
    prove(&document, &BTreeMap::from([("X1".parse().unwrap(), samples)]))
}

fn inbound(input: &str, pattern: &str) -> String {
    format!(
        r#"<rules><rule name="it" stopProcessing="true"><match url=".*"/><conditions>
<add input="{input}" pattern="{pattern}"/></conditions><action type="AbortRequest"/></rule></rules>"#
    )
}

#[test]
fn a_rule_that_stops_what_every_site_gets_is_refused() {
    for pattern in ["", "/", "^/$", "index|sign-in"] {
        let report = bench(&inbound("{REQUEST_URI}", pattern), "", "", "");
        assert!(!report.is_proven(), "{pattern}");
        let reason = &report.broken[0].reason;
        assert!(reason.contains("which every site gets"), "{reason}");
    }
    assert!(bench(&inbound("{REQUEST_URI}", "evil"), "", "", "").is_proven());
}

#[test]
fn a_rule_that_costs_too_much_is_refused() {
    let report = bench(&inbound("{REQUEST_URI}", r"(.+)(.+)\1\2=$"), "", "", "");
    assert!(report.broken.iter().any(|broken| broken.reason.contains("takes more than")), "{report:#?}");
}

#[test]
fn a_rule_without_a_text_is_a_warning_that_names_it() {
    let report = bench(&inbound("{REQUEST_URI}", "[0-9][0-9][0-9][0-9][0-9]"), "", "", "");
    assert!(report.is_proven());
    assert_eq!(report.without_literal[0].rule, "it");
    assert_eq!(bench(&inbound("{REQUEST_URI}", "evil[0-9]"), "", "", "").without_literal, []);
}

#[test]
fn mutants_that_pass_are_listed_and_counted() {
    let attack = "### one\nGET /evil HTTP/1.1\nHost: a\n";
    let raw = bench(&inbound("{REQUEST_URI}", "evil"), "", attack, "");
    assert!(raw.is_proven() && raw.survived() > 0);
    let survivor = &raw.forged[0].survivors[0];
    assert_eq!(survivor.head.lines().next(), Some("GET /%65vil HTTP/1.1"));
    let decoded = bench(&inbound("{UrlDecode:{REQUEST_URI}}", "evil"), "", attack, "");
    assert!(decoded.survived() < raw.survived());
}

const OUTBOUND: &str = r#"<outboundRules><rule name="csp"><match serverVariable="RESPONSE_X_Policy" pattern="(.*)"/>
<conditions><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></conditions>
<action type="Rewrite" value="{R:1}; none"/></rule></outboundRules>"#;
const PROBE: &str = r#"<Request expect="header" name="X-Policy" pattern="none$">GET / HTTP/1.1</Request>"#;
const HTML: &str = "GET / HTTP/1.1\nHost: a\n\nHTTP/1.1 200 OK\nContent-Type: text/html\nX-Policy: self\n\n";
const IMAGE: &str = "GET / HTTP/1.1\nHost: a\n\nHTTP/1.1 200 OK\nContent-Type: image/png\n\n";

#[test]
fn rules_for_answers_are_judged_on_answers() {
    let good = format!("### changed: html\n{HTML}### untouched: image\n{IMAGE}");
    let report = bench(OUTBOUND, PROBE, "", &good);
    assert!(report.is_proven(), "{report:#?}");
    assert_eq!(report.cases.iter().filter(|case| case.judgement == Judgement::Proven).count(), 3);

    let reversed = format!("### untouched: html\n{HTML}### changed: image\n{IMAGE}");
    let report = bench(OUTBOUND, PROBE, "", &reversed);
    let failed: Vec<String> = report.failed().map(ToString::to_string).collect();
    assert_eq!(failed.len(), 3, "{failed:#?}");
    assert!(failed[0].contains("expected X-Policy as the probe has it, found \"\""), "{failed:#?}");
    assert!(failed[1].contains("a rule of X1 changes it"), "{failed:#?}");

    let report = bench(OUTBOUND, PROBE, "", "");
    assert!(
        matches!(&report.cases[0].judgement, Judgement::NotJudged(why) if why.contains("responses.http"))
    );
    let report = bench(OUTBOUND, "", "", &good);
    assert!(report.failed().next().unwrap().to_string().contains("no probe says which header"));
}
